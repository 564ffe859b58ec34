-- Owns: one run from request to answer: limits on, script, response, limits off; and what an error means.
-- Everything goes back to Python flat: KIND, then strings and integers.
local modules = ...
local after = modules.after
local bundle, environment, fault, host, json = modules.bundle, modules.environment, modules.fault, modules.host, modules.json
local log, remote, request_of, response = modules.log, modules.remote, modules.request, modules.response
local stream = modules.stream

local match, sub = string.match, string.sub
local unpack = table.unpack
local pcall, select, tonumber, tostring, type, xpcall = pcall, select, tonumber, tostring, type, xpcall
local call, OUT_OF_MEMORY = host.call, host.OUT_OF_MEMORY
local env = environment.env

local MESSAGE_BYTES_MAX = 8192

local request
local syntax -- line, message of a main.lua that does not compile
local traceback, file, line = "", "", 0 -- of the error that ended the script

-- name, value, … of `env`
local function set_env(...)
  local fields, values = { ... }, {}
  for at = 1, select("#", ...), 2 do
    values[fields[at]] = fields[at + 1]
  end
  env.env = values
end

local function perform()
  local main_chunk, bad_line, message = bundle.entry()
  if not main_chunk then
    syntax = { bad_line, message }
    return nil
  end
  local value = main_chunk() -- these two names are what tracebacks show
  local wanted = request_of.wanted()
  if wanted then
    after.call(wanted)
    value = nil
  elseif type(value) == "function" and not stream.is_stream(value) then
    local handler = value
    value = handler(request)
  end
  local status, headers, body = response.from_value(value)
  if stream.is_stream(body) then
    stream.run(status, headers, body)
  end
  return status, headers, body
end

-- Runs where the error is, before the stack unwinds. Lua does not call it for a lack of memory.
local function note(thrown)
  traceback = fault.trace()
  local at, number = fault.script_frame()
  file, line = at or "", number or 0
  return thrown
end

-- Never calls a metamethod.
local function words_of(thrown)
  local kind = type(thrown)
  if kind == "string" then
    return thrown
  elseif kind == "number" then
    return tostring(thrown)
  end
  return kind == "table" and json.encode(thrown) or "(error object is a " .. kind .. " value)"
end

-- The position that the message itself names, if it is one of the script's.
local function locate(message)
  local at, number = match(message, "^([^:\n]+):(%d+): ")
  if at and #number < 10 and bundle.has(at) then
    file, line = at, tonumber(number)
  end
end

local function failure(kind, message)
  return kind, sub(message, 1, MESSAGE_BYTES_MAX), traceback, file, line
end

-- The limit goes before anything is pushed to Python's side of the stack or taken from it: see host.lua.
local function lifted(...)
  call("lift")
  return ...
end

-- Lifted first: near the limit `unpack` says that it has no stack, not that there is no memory.
local function success(kind, status, headers, body)
  call("lift")
  return kind, status, body, unpack(headers)
end

-- An error that no pcall of the script's caught. Runs under the memory limit still: it may build a whole answer.
local function explain(thrown)
  local may_retry = response.may_retry(thrown)
  if thrown == OUT_OF_MEMORY then
    return failure("memory-limit", OUT_OF_MEMORY)
  elseif stream.overflow() then
    return failure("bad-response", stream.overflow())
  elseif request_of.is_refusal(thrown) then
    return failure("invalid-request", thrown)
  elseif response.refusal_of(thrown) then
    return failure("bad-response", response.refusal_of(thrown))
  elseif response.is_response(thrown) and stream.has_begun() then
    local message = "error{…} came after the answer had begun: its status was sent"
    return failure(may_retry and "script-error" or "final-error", message)
  elseif response.is_response(thrown) then
    return success(may_retry and "answer" or "final-answer", response.from_error(thrown))
  end
  local message = words_of(thrown)
  locate(message)
  return failure(may_retry and "script-error" or "final-error", message)
end

-- What `explain` itself may run into: an answer that is no response, or memory again.
local function settle(done, ...)
  if done then
    return ...
  end
  local thrown = ...
  if response.refusal_of(thrown) then
    return failure("bad-response", response.refusal_of(thrown))
  elseif thrown == OUT_OF_MEMORY then
    return failure("memory-limit", OUT_OF_MEMORY)
  end
  return failure("script-error", type(thrown) == "string" and thrown or "(error while describing an error)")
end

local function conclude(done, ...)
  if not done then
    return lifted(settle(pcall(explain, (...))))
  elseif syntax then
    file, line = "main.lua", syntax[1]
    return lifted(failure("syntax-error", syntax[2]))
  elseif stream.overflow() then
    return lifted(failure("bad-response", stream.overflow()))
  elseif stream.has_begun() then
    return success("ended", 200, {}, "")
  end
  return success("response", ...)
end

-- One request, in the order of sandbox/protocol.py → KIND, …
local function run(response_bytes, log_bytes, host_calls, ...)
  response.start(response_bytes)
  stream.start(response_bytes)
  log.start(log_bytes)
  remote.start(host_calls)
  environment.randomseed(call("seed"), call("seed"))
  request = request_of.make(...)
  env.request = request
  call("limit")
  return conclude(xpcall(perform, note))
end

local WARM_SCRIPT = [[
local function double(n) return n * 2 end
return function(request)
  local t = { request.method, double(1), "" .. 2 }
  for at in ipairs(t) do t[at] = tostring(request.query.a) .. request.headers.A end
  return { status = 200, headers = { a = "b" }, body = t }
end]]
local WARM_HEADERS = "\1\0\0\0a\1\0\0\0b"

-- Touch what every run touches: what the C library does once and lazily (the time zone, the locale), and the pages of
-- Lua and of the prelude. It gives what a run gives; nothing of it stays.
local function warm_up()
  environment.env.os.date("%c %x %X %p %Z", 0)
  environment.randomseed(call("seed"), call("seed"))
  response.start(1000)
  call("limit")
  json.decode('{"a":[1,2.5e3,"\\u00e9",null,true]}')
  local handler = bundle.compile("warm.lua", WARM_SCRIPT)()
  local value = handler(request_of.make("GET", "/", "a=%20", "", "", "", "", "", "", "", WARM_HEADERS))
  return success("response", response.from_value(value))
end

return { check = bundle.check, run = run, set_env = set_env, set_files = bundle.set_files, warm_up = warm_up }
