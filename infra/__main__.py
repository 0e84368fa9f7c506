"""The Pulumi program: ``pulumi up -s <stack>``."""

from infra.provision import ProgramError, program
from infra.stack import Stack
from runtime.errors import ConfigError

try:
    program(Stack.from_pulumi())
except ConfigError as error:
    raise ProgramError(error) from error
