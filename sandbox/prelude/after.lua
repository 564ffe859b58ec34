-- Owns: `after`, work for when the answer has left: a job that calls one function of the script's own, or another script's.
-- That job is a run of its own. It has the script's globals as its file makes them, and nothing of the run that asked.
local modules = ...
local env, fault, jobs, remote = modules.environment.env, modules.fault, modules.jobs, modules.remote
local is_stream, request_of = modules.stream.is_stream, modules.request

local next, rawget, type = next, rawget, type
local raise, text_argument = fault.raise, fault.text_argument

local ours = {} -- functions that every script has: their names may be scripts' names

-- A global function that the script has made; nil if there is none of that name.
local function own(name)
  local value = rawget(env, name)
  return type(value) == "function" and not ours[value] and not is_stream(value) and value or nil
end

-- after(name, payload) → the job's id
function env.after(name, payload)
  if type(name) == "function" then
    raise("after needs the name of a global function, and not the function: it is called in a run of its own")
  end
  name = text_argument(name, "after")
  local id = remote.invoke("jobs.after", own(name) and "function" or "script", name, jobs.payload_text(payload, "after"))
  return id
end

for _, value in next, env do
  ours[value] = type(value) == "function" or nil
end

-- Call what this run is for, with the payload, in place of the handler.
local function call(name)
  local work = own(name)
  if not work then
    raise("after: this version has no global function '" .. name .. "' once its file has run")
  end
  work(request_of.payload())
end

return { call = call }
