"""The trainer: one attempt of one run, from the data in S3 to a registered model version."""
