"""The Pulumi program: ``pulumi up -s <stack>``."""

from infra.agreement import agree
from infra.policy import enforce
from infra.provision import for_pulumi, program
from infra.stack import Stack
from runtime.errors import StorageError

try:
    stack = Stack.from_pulumi()
    enforce(stack)
    agree(stack)
    program(stack)
except StorageError as error:
    raise for_pulumi(error) from error
