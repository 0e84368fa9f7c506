"""Azure Blob Storage: one account for each backend, its container and settings, and the contract's entry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import pulumi
from pulumi_azure_native import Provider, authorization, monitor, resources, storage
from pydantic import AfterValidator, Field, StrictBool

from infra import adoption, azure_network, azure_rm, azure_vault, keys, logs, naming
from infra import azure_settings as settings
from infra.backend import BackendSpec
from infra.fields import Days, Duration, Unique
from infra.identities import azure as identity_azure
from infra.logs import azure as azure_logs
from runtime.config import EncryptionConfig, NamedStorageConfig, StorageAzureConfig
from runtime.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from infra.backend import Grant
    from infra.context import Context
    from infra.endpoints import Endpoint

_OF_A_NEW_ACCOUNT: Final = frozenset({
    "change_feed", "cors", "dns_zone", "encryption", "infrastructure_encryption", "ips", "key_identity", "lifecycle",
    "network", "public", "retention", "sas_max_age", "sku", "soft_delete", "subnet", "tags", "versioning",
})  # fmt: skip


class Spec(BackendSpec):
    """A backend on Azure Blob Storage, in a storage account of its own.

    Attributes:
        location: Azure region, ``westeurope``.
        network: Who can reach the account: ``public`` everybody with a signature or token, ``ips`` only *ips*,
            ``private`` only private endpoints (browsers can not). Profile dev takes ``public`` when it is left out.
        ips: Public IPv4 addresses or ranges that may come in, for network ``ips``.
        subnet: Resource id of a subnet that gets a private endpoint of the account.
        dns_zone: Resource id of the private DNS zone in which the endpoint gets the account's name.
        resource_group: A resource group that exists; the program makes one when it is left out.
        sku: Redundancy of the account.
        soft_delete: How long deleted blobs and containers can be restored, 1d to 365d.
        infrastructure_encryption: Whether everything is encrypted twice; a new account only can get it.
        change_feed: How long it is written down what changed; 0s for not at all.
        sas_max_age: Age of signatures beyond which Azure notices, in its log.
        key_identity: Resource id of the user-assigned identity that the vault of ``kms_key_id`` lets in.
        existing: ``<account>/<container>`` that is there already.
        take_over: ``<account>/<container>`` that becomes the stack's, with the whole account.
    """

    provider = "azure"
    emulated_account = "devstoreaccount1"
    encryptions = {"dev": "AES256", "standard": "AES256", "regulated": "azure:cmk"}  # noqa: RUF012 - a ClassVar
    key_times = keys.Times(
        rotate_after=keys.days(365),
        rotations=(keys.days(7), keys.days(3650)),
        rescue=keys.days(90),
        rescues=(keys.days(7), keys.days(90)),
    )
    most_cors_rules = 5
    retains = "new"
    example = {"location": "westeurope"}  # noqa: RUF012 - a ClassVar above
    can_log = True
    identities = identity_azure.KINDS

    driver: Literal["azure"]
    location: str = Field(pattern=r"^[a-z]+[0-9]?$", description="an Azure region such as westeurope")
    network: Literal["public", "private", "ips"] | None = None
    ips: Annotated[tuple[Annotated[str, AfterValidator(azure_rm.address)], ...], Unique] = ()
    subnet: str | None = Field(
        default=None,
        pattern=azure_network.SUBNET,
        description="/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Network/virtualNetworks/<network>"
        "/subnets/<subnet>",
    )
    dns_zone: str | None = Field(
        default=None,
        pattern=azure_network.DNS_ZONE,
        description="/subscriptions/<id>/resourceGroups/<group>/providers/Microsoft.Network/privateDnsZones"
        "/privatelink.blob.core.windows.net",
    )
    resource_group: str | None = Field(
        default=None,
        pattern=r"^[\w().-]{0,89}[\w()-]$",
        description="1 to 90 letters, digits and _().-, no dot at the end",
    )
    sku: Literal["Standard_LRS", "Standard_ZRS", "Standard_GRS", "Standard_GZRS"] | None = None
    soft_delete: Days = timedelta(days=7)
    infrastructure_encryption: StrictBool | None = None
    change_feed: Duration | None = None
    sas_max_age: Days = timedelta(days=7)
    key_identity: str | None = Field(
        default=None, pattern=azure_rm.IDENTITY, description="the resource id of a user-assigned identity"
    )
    existing: Annotated[str, AfterValidator(azure_rm.existing)] | None = None
    take_over: Annotated[str, AfterValidator(azure_rm.existing)] | None = None

    def problems(self, context: Context) -> Iterator[Problem]:
        """A network that nobody chose, and whatever Azure does not know or can not do."""
        yield from self._network_problems(context)
        yield from self._key_problems()
        yield from self._grant_problems()
        yield from self._existing_problems()
        if self.force_destroy is False and context.dev:
            found = "found False, and Azure deletes a container with everything in it"
            yield Problem("force_destroy", found, "leave it out; outside dev the container is protected")
        if self.soft_delete > timedelta(days=365):
            yield Problem("soft_delete", f"found {self.soft_delete.days}d", "1d to 365d")
        if self.change_feed and self.change_feed % timedelta(days=1):
            yield Problem("change_feed", "found what is no whole number of days", "0s, or whole days: 90d")
        abort = self.lifecycle.abort_multipart_after if self.lifecycle else None
        if abort not in {None, timedelta(days=7)}:
            yield Problem("lifecycle.abort_multipart_after", "Azure drops unfinished uploads after a week", "7d")
        by_id = bool(self.grants) or bool(self.existing) or self.logged(context)
        if by_id and not context.emulated("azure") and not context.account("azure", ""):
            found = "is required for grants, access logs and existing containers: their ids hold it"
            yield Problem("tandem:accounts.azure", found, "the subscription's id")

    def resolved(self, profile: str) -> Self:
        """Redundancy, encryption and the change feed too."""
        found = super().resolved(profile)
        if found.existing:
            return found
        dev = profile == "dev"
        defaults = {
            "sku": "Standard_LRS" if dev else "Standard_ZRS",
            "infrastructure_encryption": not dev,
            "change_feed": timedelta(days=0 if dev else 90),
            "network": "public" if dev else None,
        }
        missing = {key: value for key, value in defaults.items() if getattr(found, key) is None}
        return found.model_copy(update=missing)

    def log_place(self, context: Context) -> str | None:
        """Azure writes logs within a region only; those for a workspace need no place."""
        return None if context.logging.workspace else logs.name("azure", self.location)

    def _network_problems(self, context: Context) -> Iterator[Problem]:
        if self.network is None and not context.dev and self.existing is None:
            allowed = "public, ips (with ips: […]) or private"
            yield Problem(
                "network", "is a required choice outside profile dev: it decides whether browsers work", allowed
            )
        if (self.network == "ips") is not bool(self.ips):
            yield Problem(
                "ips", "goes with network: ips" if self.ips else "is required for network: ips", "both or none"
            )
        if self.dns_zone and not self.subnet:
            yield Problem("dns_zone", "names a private endpoint, and there is none", "with subnet, or leave it out")

    def _key_problems(self) -> Iterator[Problem]:
        key = self.encryption.kms_key_id if self.encryption and self.encryption.customer_key else None
        if key and not azure_rm.KEY.fullmatch(key):
            yield Problem("encryption.kms_key_id", f"found {key!r}", "https://<vault>.vault.azure.net/keys/<key>")
        if bool(key) is not bool(self.key_identity):
            found = "is required for a key of your own: its vault has to let it in before there is an account"
            yield Problem(
                "key_identity",
                "goes with a key of your own, encryption.kms_key_id" if self.key_identity else found,
                "the resource id of a user-assigned identity with the role Key Vault Crypto Service Encryption User",
            )

    def _grant_problems(self) -> Iterator[Problem]:
        for index, grant in enumerate(self.grants):
            if grant.to.known is not None and not azure_rm.PRINCIPAL.fullmatch(grant.to.known):
                yield Problem(
                    f"grants[{index}].to",
                    f"found {grant.to.known!r}",
                    "the object id of a service principal or managed identity, user:<object id>, group:<object id>,"
                    " or a mapping: federated",
                )
            if not azure_rm.possible(grant.access):
                found = f"found {', '.join(grant.access)}: on Azure whoever reads blobs lists them too"
                yield Problem(f"grants[{index}].access", found, "read and list, or neither of them")

    def _existing_problems(self) -> Iterator[Problem]:
        """An account's settings are for everything in it, so one that somebody else manages keeps them."""
        if self.take_over and self.resource_group is None:
            yield Problem("resource_group", "is required with take_over", "the group that the account is in")
        if not self.existing:
            return
        if self.resource_group is None:
            yield Problem("resource_group", "is required with existing", "the group that the account is in")
        for key in sorted(_OF_A_NEW_ACCOUNT & self.model_fields_set):
            wish = "leave it out, and set it where the account is managed"
            yield Problem(key, "is a setting of the whole account, which exists already", wish)


class Bucket(pulumi.ComponentResource):
    """A storage account with one container, and everything that its spec asks for.

    The account is in a resource group of its own unless the spec names one, so that backends come and go one by one.

    Attributes:
        resources: What was made, in order; the contract is written when all of it exists.
    """

    def __init__(self, spec: Spec, context: Context) -> None:
        super().__init__("tandem:storage:AzureBucket", spec.name, {}, adoption.options(spec, context))
        self.resources: list[pulumi.CustomResource] = []
        self._spec, self._context, self._home = spec, context, home(spec, context)
        self._tags = context.owner_tags(spec.name, spec.tags)
        if spec.existing:
            name, container = f"{spec.name}-bucket", self._home.container_id
            self.resources.append(storage.BlobContainer.get(name, container, opts=self._options()))
        else:
            self._group()
            self._key()
            self._account()
            self._service()
            self._container()
            self._lifecycle()
            self._endpoint()
        if spec.logged(context):
            self._logging()
        self._roles: dict[tuple[str, ...], pulumi.CustomResource] = {}
        for grant in spec.grants:
            self._grant(grant)
        self.register_outputs({"bucket": self._home.container})

    def _group(self) -> None:
        if self._spec.resource_group:
            return
        group = resources.ResourceGroup(
            f"{self._spec.name}-group",
            resource_group_name=self._home.group,
            location=self._spec.location,
            tags=self._tags,
            opts=self._options(protect=not self._context.dev),
        )
        self.resources.append(group)

    def _key(self) -> None:
        """The key, where the spec names none; from here on the spec does."""
        if azure_vault.made_here(self._spec):
            protect = not self._context.dev
            made = azure_vault.make(self._spec, self._home, self._tags, self._options, protect=protect)
            for resource in made:  # each waits for the one before
                self.resources.append(resource)
        self._spec = azure_vault.keyed(self._spec, self._home)

    def _account(self) -> None:
        spec, dev = self._spec, self._context.dev
        account = storage.StorageAccount(
            f"{spec.name}-account",
            account_name=self._home.account,
            resource_group_name=self._home.group,
            location=spec.location,
            kind="StorageV2",
            sku=storage.SkuArgs(name=spec.sku),
            **settings.CLOSED,
            allow_blob_public_access=spec.public,
            # left out it would be allowed; an emulator knows nothing but keys
            allow_shared_key_access=self._context.emulated("azure"),
            public_network_access="Disabled" if spec.network == "private" else "Enabled",
            network_rule_set=settings.network(spec),
            sas_policy=settings.sas_policy(spec.sas_max_age),
            key_policy=settings.KEY_POLICY,
            encryption=settings.encryption(spec),
            immutable_storage_with_versioning=settings.immutability(spec),
            identity=settings.identity(spec),
            tags=self._tags,
            opts=self._options(protect=not dev),
        )
        self.resources.append(account)

    def _service(self) -> None:
        kept = storage.DeleteRetentionPolicyArgs(enabled=True, days=self._spec.soft_delete.days)
        feed = self._spec.change_feed
        written = storage.ChangeFeedArgs(enabled=True, retention_in_days=feed.days) if feed else None
        service = storage.BlobServiceProperties(
            f"{self._spec.name}-service",
            blob_services_name="default",
            **self._place(),
            is_versioning_enabled=bool(self._spec.versioning),
            delete_retention_policy=kept,
            container_delete_retention_policy=kept,
            change_feed=written,
            cors=storage.CorsRulesArgs(cors_rules=settings.cors_rules(self._spec)),
            opts=self._options(),
        )
        self.resources.append(service)

    def _container(self) -> None:
        container = storage.BlobContainer(
            f"{self._spec.name}-bucket",
            container_name=self._home.container,
            **self._place(),
            public_access="Blob" if self._spec.public else "None",  # reads, no listing
            opts=self._options(protect=not self._context.dev),
        )
        self.resources.append(container)

    def _lifecycle(self) -> None:
        if not (rules := settings.lifecycle_rules(self._spec, self._home.container)):
            return
        policy = storage.ManagementPolicy(
            f"{self._spec.name}-lifecycle",
            management_policy_name="default",
            **self._place(),
            policy=storage.ManagementPolicySchemaArgs(rules=rules),
            opts=self._options(),
        )
        self.resources.append(policy)

    def _endpoint(self) -> None:
        spec, home = self._spec, self._home
        if spec.subnet is None:
            return
        made = azure_network.endpoint(spec.name, home, spec.location, spec.subnet, self._tags, self._options())
        self.resources.append(made)
        if spec.dns_zone is not None:
            self.resources.append(azure_network.names(spec.name, home, spec.dns_zone, self._options()))

    def _logging(self) -> None:
        context, place = self._context, self._spec.log_place(self._context)
        after = context.logs[place].resources[-1:] if place else []
        account = azure_logs.home(self._spec.location, context).account_id if place else None
        setting = monitor.DiagnosticSetting(
            f"{self._spec.name}-logging",
            name="tandem",
            resource_uri=f"{self._home.account_id}/blobServices/default",
            logs=[monitor.DiagnosticsLogSettingsArgs(category=each, enabled=True) for each in azure_logs.CATEGORIES],
            storage_account_id=account,
            workspace_id=context.logging.workspace,
            opts=self._options(after),
        )
        self.resources.append(setting)

    def _grant(self, grant: Grant) -> None:
        made: list[pulumi.CustomResource] = []
        if grant.to.known is not None:
            kind, _, found = grant.to.known.rpartition(":")
            whom: tuple[str, Any] = (azure_rm.PRINCIPAL_TYPES[kind], found)
        else:
            identity, made = identity_azure.identity(grant, self._spec, self._context)
            whom = ("ServicePrincipal", identity.principal_id)
        self.resources += made
        for role, scope in self._home.assignments(grant.access):
            self._assign(grant, azure_rm.ROLE_NAMES[role], role, scope, whom)
        if verbs := azure_rm.custom_verbs(grant.access):
            if verbs not in self._roles:
                self._roles[verbs] = identity_azure.custom_role(self._spec.name, self._home, verbs, self._options())
                self.resources.append(self._roles[verbs])
            role = azure_rm.custom_id(self._home.container_id, verbs)
            self._assign(grant, "-".join(verbs), role, self._home.container_id, whom)

    def _assign(self, grant: Grant, label: str, role: str, scope: str, whom: tuple[str, Any]) -> None:
        kind, principal = whom
        whose = grant.to.known.rpartition(":")[2] if grant.to.known else grant.name
        # named by whom and what: by its place in the spec, a grant that moves up would be deleted after it was made
        assignment = authorization.RoleAssignment(
            f"{self._spec.name}-{label}-{naming.identity(grant.name)}",
            role_assignment_name=azure_rm.assignment_name(scope, role, whose),
            scope=scope,
            role_definition_id=self._home.role_id(role),
            principal_id=principal,
            principal_type=kind,  # a principal that was just made is not found without it
            opts=self._options(),
        )
        self.resources.append(assignment)

    def _place(self) -> dict[str, str]:
        return {"account_name": self._home.account, "resource_group_name": self._home.group}

    def _options(self, after: Sequence[pulumi.Resource] = (), *, protect: bool = False) -> pulumi.ResourceOptions:
        after = [*self.resources[-1:], *after]
        return pulumi.ResourceOptions(parent=self, depends_on=after, protect=protect, retain_on_delete=protect or None)


def provision(spec: Spec, context: Context) -> Bucket:
    """Make the backend's account and container."""
    return Bucket(spec, context)


def provision_logs(spec: Spec, context: Context) -> azure_logs.Logs:
    """Make the account for the logs of the backend's region."""
    return azure_logs.Logs(spec.location, context)


def provider(endpoint: Endpoint) -> Provider:
    """The provider of an emulated stack: a cloud whose metadata, where all addresses come from, is at *endpoint*."""
    return Provider(
        "azure-native",
        subscription_id=azure_rm.EMULATED_SUBSCRIPTION,
        metadata_host=endpoint.url,
        client_id=endpoint.access_key,
        client_secret=pulumi.Output.secret(endpoint.secret_key),
    )


def entry(spec: Spec, context: Context) -> NamedStorageConfig:
    """The backend as the contract has it; keyless, except on an emulator."""
    endpoint = context.endpoint("azure")
    account, container = names(spec, context)
    found: dict[str, Any] = {"account_name": account, "container": container, "public_url": spec.public_url}
    if endpoint is not None:
        found |= {
            "endpoint_url": f"{endpoint.url}/{account}",
            "account_key": context.reference(endpoint.secret_key_file),
        }
    if (encryption := azure_vault.keyed(spec, home(spec, context)).encryption) is not None:
        found["encryption"] = EncryptionConfig(enabled=True, type=encryption.type, kms_key_id=encryption.kms_key_id)
    return spec.named(StorageAzureConfig(**found), capabilities=("presign",), logged=spec.logged(context))


def names(spec: Spec, context: Context) -> tuple[str, str]:
    """Account and container, known before they exist."""
    if there := spec.existing or spec.take_over:
        account, _, container = there.partition("/")
        return spec.emulated_account if context.emulated("azure") else account, container
    stack, subscription = context.stack, context.account("azure", azure_rm.EMULATED_SUBSCRIPTION)
    container = naming.bucket(stack.project, stack.name, spec.name, subscription)
    if context.emulated("azure"):
        return spec.emulated_account, container  # Azurite has the one account
    return naming.azure_account(stack.project, stack.name, spec.name, subscription), container


def home(spec: Spec, context: Context) -> azure_rm.Home:
    """Subscription, resource group, account and container of the backend."""
    stack, subscription = context.stack, context.account("azure", azure_rm.EMULATED_SUBSCRIPTION)
    made = naming.bucket(stack.project, stack.name, spec.name, subscription)
    account, container = names(spec, context)
    if context.emulated("azure") and not (spec.existing or spec.take_over):  # the account that there would be
        account = naming.azure_account(stack.project, stack.name, spec.name, subscription)
    return azure_rm.Home(subscription, spec.resource_group or made, account, container)
