"""All security rules, and those that are not for everybody.

Each module holds the rules of one cloud; `infra.policy` runs them and knows of profiles and exemptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from infra.rules import anywhere, aws, azure, gcp, logs, r2, trust

if TYPE_CHECKING:
    from infra.rules.common import Rule

RULES: Final[tuple[Rule, ...]] = (
    *aws.RULES,
    *gcp.RULES,
    *azure.RULES,
    *r2.RULES,
    *trust.RULES,
    *logs.RULES,
    *anywhere.RULES,
)

OPT_IN: Final = {
    "FSBP S3.7, CKV_AWS_144": "replication to another region: doubles the cost, and the data leaves its region",
    "FSBP S3.11, CKV2_AWS_62": "event notifications: somebody has to listen",
    "FSBP S3.15, CKV_AWS_143": "object lock: nobody can delete anything (`retention`, in profile regulated)",
    "FSBP S3.20, CIS AWS 3.1.2": "MFA delete: only the root user can turn it on",
    "CIS AWS 4.8, CIS AWS 4.9": "data events in CloudTrail: an account's setting, paid for by the call",
    "CIS Azure 9.3.2.1, CIS Azure 9.3.2.2": "private endpoints only, which browsers can not use (in profile regulated)",
    "CKV2_AZURE_1": "a customer's key on Azure: its vault outlives it by 90 days (profile regulated asks for it)",
    "TR AZU-0058": "copies in another region of Azure: the data leaves its region (`sku: Standard_GZRS`)",
    "CIS GCP 5.3": "retention: nobody can delete anything (`retention`, in profile regulated)",
}
"""Published rules that are somebody's choice and not a default, and why."""
