terraform {
  required_version = ">= 1.11, < 2.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }

  # One file per environment in envs/ fills this in; tools/terraform.py adds the bucket of the account.
  backend "s3" {}
}
