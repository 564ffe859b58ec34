-- Owns: what a script sees as `request`. Parts that take work are made when first looked at, then stay.
local fault, json, url = (...).fault, (...).json, (...).url

local byte, find, gmatch, lower, match, sub =
  string.byte, string.find, string.gmatch, string.lower, string.match, string.sub
local unpack_value = string.unpack
local error, rawget, rawset, setmetatable, type = error, rawget, rawset, setmetatable, type
local raise = fault.raise

local query_string, body, trigger, event, packed_params, packed_headers -- the request's own, whatever a script does to `request`
local refused -- the words of the last body that was not what the script asked for

-- name, value, … as sandbox/protocol.py packs them
local function unpacked(packed)
  local fields, at = {}, 1
  while at <= #packed do
    local name, value
    name, value, at = unpack_value("<s4s4", packed, at)
    fields[name] = value
  end
  return fields
end

local function any_case(headers, name)
  return type(name) == "string" and rawget(headers, lower(name)) or nil
end
local HEADERS = { __index = any_case, __metatable = false }

local own_headers
local function header(name)
  own_headers = own_headers or unpacked(packed_headers)
  return own_headers[name]
end

local BLANK = { [byte(" ")] = true, [byte("\t")] = true }

-- TEXT between START and STOP without the blanks at its ends; linear, whatever a client sends.
local function trimmed(text, start, stop)
  while start <= stop and BLANK[byte(text, start)] do
    start = start + 1
  end
  while stop >= start and BLANK[byte(text, stop)] do
    stop = stop - 1
  end
  return sub(text, start, stop)
end

local function read_cookies()
  local cookies = {}
  for pair in gmatch(header("cookie") or "", "[^;]+") do
    local equals = find(pair, "=", 1, true)
    local name = equals and trimmed(pair, 1, equals - 1)
    if name and rawget(cookies, name) == nil then
      local value = trimmed(pair, equals + 1, #pair)
      cookies[name] = match(value, '^"(.*)"$') or value
    end
  end
  return cookies
end

-- A plain string, so that a script that catches it can log it or answer it. Uncaught, it is the caller's fault: 400.
local function refuse_body(reason)
  refused = reason
  error(reason, 0)
end

local methods = {}

-- request:json() → the body's value; not JSON: an error which, uncaught, answers 400
function methods.json()
  if body == "" then
    refuse_body("the request body is empty, not JSON")
  end
  local value, reason = json.decode(body)
  if value == nil then
    refuse_body("the request body is not JSON: " .. reason)
  end
  return value
end

-- request:form() → first values, all values as lists, of an urlencoded body; another content type: an error, uncaught 400
function methods.form()
  local content_type = lower(match(header("content-type") or "", "^%s*([^;%s]*)"))
  if content_type ~= "" and content_type ~= "application/x-www-form-urlencoded" then
    refuse_body("the request body is " .. content_type .. ", not application/x-www-form-urlencoded")
  end
  return url.decode_query(body)
end

local parts = {}

function parts.query(request)
  local first, all = url.decode_query(query_string)
  rawset(request, "query_all", all)
  return first
end

function parts.query_all(request)
  local first, all = url.decode_query(query_string)
  if rawget(request, "query") == nil then
    rawset(request, "query", first)
  end
  return all
end

function parts.headers()
  return setmetatable(unpacked(packed_headers), HEADERS)
end

function parts.params()
  return unpacked(packed_params)
end

parts.cookies = read_cookies

function parts.event()
  if event == "" then
    return nil
  end
  local value, reason = json.decode(event)
  if value == nil then
    raise("the event is not JSON: " .. reason)
  end
  return value
end

local REQUEST = {
  __metatable = false,
  __index = function(request, key)
    local method = methods[key]
    if method then
      return method
    end
    local make = parts[key]
    if not make then
      return nil
    end
    local value = make(request)
    rawset(request, key, value)
    return value
  end,
}

-- The fields of `request` in the order of sandbox/protocol.py.
local function make(method, path, query, host, remote_addr, id, why, event_json, body_text, params, headers)
  own_headers, refused = nil, nil
  query_string, body, packed_params, packed_headers = query, body_text, params, headers
  trigger, event = why, event_json
  return setmetatable({
    method = method,
    path = path,
    host = host,
    remote_addr = remote_addr,
    id = id,
    trigger = why,
    body = body_text,
  }, REQUEST)
end

-- The name of the function that `after` asked for, if this run is for that. Jobs alone get such an event, and from the
-- trusted side: an event that somebody publishes is another trigger.
local function wanted()
  local value = trigger == "job" and event ~= "" and json.decode(event)
  return type(value) == "table" and value.after or nil
end

-- What a job was sent with; nil for null.
local function payload()
  local value = methods.json()
  if value ~= json.null then
    return value
  end
end

-- Whether an error is a body's, uncaught.
local function is_refusal(value)
  return refused ~= nil and value == refused
end

return { is_refusal = is_refusal, make = make, payload = payload, wanted = wanted }
