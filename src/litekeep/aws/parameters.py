"""
Secrets that are kept in AWS Systems Manager's Parameter Store.

The parameter is read when a store is opened, decrypted by AWS, with the
credentials that boto3 finds: environment, profile, instance role.
"""

from __future__ import annotations

from litekeep.errors import ConfigError, MissingExtra
from litekeep.secret import Secret


def read_parameter(name: str) -> Secret:
    """
    Return the value of the parameter *name*.

    Raises:
        MissingExtra: boto3 is not installed.

        ConfigError: AWS did not give the value; the reason is told, no value is.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise MissingExtra(
            f"the parameter {name} cannot be read without boto3",
            hint="Install it with the pip of Litekeep's environment: pip install boto3.",
        ) from error
    try:
        answer = boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "unknown")
        raise ConfigError(
            f"AWS refused the parameter {name}: {code}",
            hint="Check its name and region, and that the role may use ssm:GetParameter, and "
            "kms:Decrypt for a key of your own.",
        ) from error
    except BotoCoreError as error:
        raise ConfigError(
            f"cannot ask AWS for the parameter {name}: {type(error).__name__}",
            hint="Set AWS_REGION, and give credentials by environment, profile or role.",
        ) from error
    value = answer["Parameter"]["Value"]
    if not value:
        raise ConfigError(
            f"the parameter {name} is empty", hint="It should hold the secret and nothing else."
        )
    return Secret(value)
