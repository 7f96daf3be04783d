provider "registry.terraform.io/nerforge/nothing" {
  version     = "1.0.0"
  constraints = "1.0.0"
  hashes = [
    "h1:KwBvfec4AZyJ3sDZyAzSqquE29vh2hcXJ4jiUXduibA=",
  ]
}
