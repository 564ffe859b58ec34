-- Owns: what a script's result means as an HTTP response. Types are settled here; that the status and the headers
-- are legal is checked by the trusted side, which believes nothing from here anyway.
local host, json, stream = (...).host, (...).json, (...).stream

local format, lower, sub = string.format, string.lower, string.sub
local sort = table.sort
local getmetatable = debug.getmetatable
local error, next, number_type, rawequal, rawget, rawlen, tostring, type =
  error, next, math.type, rawequal, rawget, rawlen, tostring, type
local call, is_stream = host.call, stream.is_stream

local JSON, TEXT = "application/json", "text/plain; charset=utf-8"
local PARTS = { status = true, headers = true, body = true }
local SHOWN_BYTES = 60
local HEADERS_MAX = 100 -- as sandbox/protocol.py has it

local REFUSED = {} -- thrown; private, so no script can throw it
local refusal
local bytes_max = 0

local function start(response_bytes)
  bytes_max = response_bytes
end

local function refuse(detail)
  refusal = detail
  error(REFUSED, 0)
end

local function json_text(value, where)
  local text, reason = json.encode(value)
  if not text then
    refuse(where .. reason)
  end
  return text
end

local function status_of(value, default)
  if value == nil then
    return default
  elseif number_type(value) == "float" and value == value // 1 and value > -1e9 and value < 1e9 then
    value = value // 1 | 0
  end
  if number_type(value) ~= "integer" then
    local kind = type(value)
    local shown = value ~= value and "NaN" or tostring(value) -- C spells it "nan" or "-nan", as the processor likes
    refuse("status must be an integer, not " .. (kind == "number" and shown or "a " .. kind))
  elseif value < 200 or value > 599 then
    refuse("status must be from 200 to 599, not " .. tostring(value))
  end
  return value
end

local function header_text(value, name)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" then
    local text = json.encode(value) -- refuses NaN and infinity, writes 3.0 as 3
    return text or refuse("header '" .. name .. "' is " .. tostring(value))
  end
  refuse("header '" .. name .. "' must be a string, a number or a list of them, not a " .. kind)
end

local function add(headers, name, value)
  local count = #headers
  if count >= 2 * HEADERS_MAX then
    refuse("more than " .. HEADERS_MAX .. " headers")
  end
  headers[count + 1], headers[count + 2] = name, header_text(value, name)
end

local function sorted_names(fields)
  local names = {}
  for name in next, fields do
    if type(name) ~= "string" then
      refuse("a header's name must be a string, not a " .. type(name))
    end
    names[#names + 1] = name
  end
  sort(names)
  return names
end

-- name, value, … and whether one is a content type
local function headers_of(fields)
  local headers, typed = {}, false
  if fields == nil then
    return headers, typed
  elseif type(fields) ~= "table" then
    refuse("headers must be a table, not a " .. type(fields))
  end
  local names = sorted_names(fields)
  for at = 1, #names do
    local name = names[at]
    local value = rawget(fields, name)
    typed = typed or lower(name) == "content-type"
    if type(value) == "table" then
      for item = 1, rawlen(value) do
        add(headers, name, rawget(value, item))
      end
    else
      add(headers, name, value)
    end
  end
  return headers, typed
end

-- text, its content type
local function body_of(value, where)
  local kind = type(value)
  if kind == "nil" then
    return "", nil
  elseif kind == "string" then
    return value, value ~= "" and TEXT or nil
  elseif kind == "number" or kind == "boolean" or kind == "table" then
    return json_text(value, where), JSON
  end
  refuse("a " .. kind .. " cannot be a response")
end

-- Both limits: of the size, and of memory, which must have room for the copy that leaves.
local function sized(body)
  if #body > bytes_max then
    refuse(format("the body has %d bytes, over the limit of %d", #body, bytes_max))
  end
  call("room", #body)
  return body
end

-- Whether a table is a response and not a value to show as JSON.
local function is_response(value)
  return type(value) == "table"
    and (rawget(value, "status") ~= nil or rawget(value, "headers") ~= nil or rawget(value, "body") ~= nil)
end

-- Data with a field of one of these names would lose all others without a word. What `http` and `invoke` give may go on
-- as it is: those are objects.
local function check_names(value)
  if getmetatable(value) then
    return
  end
  for name in next, value do
    if not PARTS[name] then
      local shown = type(name) == "string" and "'" .. sub(name, 1, SHOWN_BYTES) .. "'" or "a " .. type(name)
      refuse(shown .. " does not belong beside status, headers and body; if this is data, wrap it: { body = data }")
    end
  end
end

-- A table with `status`, `headers` or `body` → status, headers (name, value, …), body; a stream if that may be one.
local function from_table(value, default_status, may_stream)
  local status = status_of(rawget(value, "status"), default_status)
  local headers, typed = headers_of(rawget(value, "headers"))
  local body, content_type = rawget(value, "body"), TEXT
  local streams = is_stream(body)
  if not streams then
    body, content_type = body_of(body, "body: ")
  elseif not may_stream then
    refuse("the body of error{…} cannot be a stream: nothing is committed that it could begin after")
  end
  if content_type and not typed then
    add(headers, "content-type", content_type)
  end
  return status, headers, streams and body or sized(body)
end

-- What error{…} threw, which is a response → the same.
local function from_error(value)
  local retry = rawget(value, "retry")
  if retry ~= nil and type(retry) ~= "boolean" then
    refuse("retry must be true or false, not a " .. type(retry))
  end
  return from_table(value, 500)
end

-- Whether a job may run again after what was thrown: error{retry = false, …} says that it need not.
local function may_retry(thrown)
  return type(thrown) ~= "table" or rawget(thrown, "retry") ~= false
end

-- Whatever a script returned → status, headers, body, which may be a stream.
local function from_value(value)
  if value == nil then
    return 204, {}, ""
  elseif is_stream(value) then
    return 200, { "content-type", TEXT }, value
  elseif is_response(value) then
    check_names(value)
    return from_table(value, 200, true)
  end
  local body, content_type = body_of(value, "")
  return 200, { "content-type", content_type or TEXT }, sized(body)
end

-- Why a value was refused, if that is what was thrown.
local function refusal_of(thrown)
  return rawequal(thrown, REFUSED) and refusal or nil
end

return {
  from_error = from_error,
  from_value = from_value,
  is_response = is_response,
  may_retry = may_retry,
  refusal_of = refusal_of,
  start = start,
}
