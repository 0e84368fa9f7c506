"""The Pulumi program: ``pulumi up -s <stack>``."""

import pulumi

from infra.provision import program
from infra.stack import Stack
from runtime.errors import StorageError

try:
    program(Stack.from_pulumi())
except StorageError as error:
    raise pulumi.RunError(str(error)) from error  # Pulumi prints its message alone, without a traceback
