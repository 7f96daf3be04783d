# A serving stack that faces the internet: what checkov sees of it besides the default one.
certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
allowed_cidrs   = ["203.0.113.0/24"]
