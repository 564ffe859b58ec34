"""The nouns: frozen, slotted, with a unit in each name or comment. `from picloud.model import X` has all of them.

Owns: the words of the platform as types. Knows nothing of how they are stored, sent or run; imports nothing of ours.

    scripts   scripts, versions and routes, and what an upload is
    settings  what holds for a script, and what the operator allows
    runs      one run: request, response, outcome
    records   what is kept of it: invocations and log lines
"""

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

__all__ = [
    "ANYWAY",
    "DEFAULT_POLICY",
    "LIMITS_MOST",
    "SCRIPT_NAME",
    "VARIABLE_NAME",
    "Access",
    "Condition",
    "Cors",
    "HeaderList",
    "Invocation",
    "InvocationFilter",
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
    "Settings",
    "SettingsChange",
    "StoredLine",
    "StoredSettings",
    "SyntaxProblem",
    "Trigger",
    "Upload",
    "Uploaded",
    "Version",
    "is_script_name",
    "is_variable_name",
    "new_id",
]
