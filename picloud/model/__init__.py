"""The nouns: frozen, slotted, with a unit in each name or comment. `from picloud.model import X` has all of them.

Owns: the words of the platform as types. Knows nothing of how they are stored, sent or run; imports nothing of ours.

    hosts     names and addresses of other servers, and patterns of them
    scripts   scripts, versions and routes, and what an upload is
    state     what scripts keep between runs
    secrets   named values that scripts may be granted, without the values
    settings  what holds for a script, and what the operator allows
    runs      one run: request, response, outcome
    records   what is kept of it: invocations and log lines
"""

from picloud.model.hosts import (
    HostPattern,
    host_and_port,
    normal_host,
    private_hosts,
)
from picloud.model.records import (
    Invocation,
    InvocationFilter,
    Level,
    LineFilter,
    LinePage,
    LogLine,
    Record,
    StoredLine,
)
from picloud.model.runs import (
    HeaderList,
    Outcome,
    Request,
    Response,
    Run,
    Trigger,
    new_id,
)
from picloud.model.scripts import (
    ANYWAY,
    SCRIPT_NAME,
    Condition,
    Program,
    Route,
    Script,
    SyntaxProblem,
    Upload,
    Uploaded,
    Version,
    is_script_name,
)
from picloud.model.secrets import SECRET_CHARACTERS_MAX, Secret
from picloud.model.settings import (
    DEFAULT_POLICY,
    LIMITS_MOST,
    VARIABLE_NAME,
    Access,
    Cors,
    Limits,
    Policy,
    Settings,
    SettingsChange,
    StoredSettings,
    is_variable_name,
)
from picloud.model.state import (
    GET_BYTES_MAX,
    KEY_BYTES_MAX,
    KEY_OVERHEAD_BYTES,
    SPACE_BYTES_MAX,
    SPACE_NAME,
    VALUE_BYTES_MAX,
    WHATEVER,
    Check,
    Entry,
    Guard,
    KeptAnswer,
    Value,
    ValueKind,
    is_last_page,
    is_space_name,
    own_space,
    shared_name,
    shared_space,
)

__all__ = [
    "ANYWAY",
    "DEFAULT_POLICY",
    "GET_BYTES_MAX",
    "KEY_BYTES_MAX",
    "KEY_OVERHEAD_BYTES",
    "LIMITS_MOST",
    "SCRIPT_NAME",
    "SECRET_CHARACTERS_MAX",
    "SPACE_BYTES_MAX",
    "SPACE_NAME",
    "VALUE_BYTES_MAX",
    "VARIABLE_NAME",
    "WHATEVER",
    "Access",
    "Check",
    "Condition",
    "Cors",
    "Entry",
    "Guard",
    "HeaderList",
    "HostPattern",
    "Invocation",
    "InvocationFilter",
    "KeptAnswer",
    "Level",
    "Limits",
    "LineFilter",
    "LinePage",
    "LogLine",
    "Outcome",
    "Policy",
    "Program",
    "Record",
    "Request",
    "Response",
    "Route",
    "Run",
    "Script",
    "Secret",
    "Settings",
    "SettingsChange",
    "StoredLine",
    "StoredSettings",
    "SyntaxProblem",
    "Trigger",
    "Upload",
    "Uploaded",
    "Value",
    "ValueKind",
    "Version",
    "host_and_port",
    "is_last_page",
    "is_script_name",
    "is_space_name",
    "is_variable_name",
    "new_id",
    "normal_host",
    "own_space",
    "private_hosts",
    "shared_name",
    "shared_space",
]
