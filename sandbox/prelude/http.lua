-- Owns: `http`, requests to other servers. The trusted side makes them and says where they may go; here tables become
-- fields and back.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local lower = string.lower
local next, rawequal, rawget, rawlen, select, setmetatable, tostring, type =
  next, rawequal, rawget, rawlen, select, setmetatable, tostring, type
local tointeger, unpack = math.tointeger, table.unpack
local integer_argument, invoke, raise, text_argument =
  fault.integer_argument, remote.invoke, fault.raise, fault.text_argument

local FIXED = 3 -- of a reply, before its headers: status, url, body
local OPTIONS = { url = true, method = true, headers = true, body = true, timeout_ms = true, redirect = true }

local function any_case(headers, name)
  return type(name) == "string" and rawget(headers, lower(name)) or nil
end
local HEADERS = { __index = any_case, __metatable = false }

local methods = {}

-- response:json() → the body's value
function methods.json(response)
  local body = type(response) == "table" and rawget(response, "body")
  if type(body) ~= "string" then
    raise("response:json() needs a response: call it with ':'")
  end
  local value, reason = json.decode(body)
  if value == nil then
    raise("the answer is not JSON: " .. reason)
  end
  return value
end
local RESPONSE = { __index = methods, __metatable = false }

local function response_of(status, url, body, ...)
  local fields, headers = { ... }, {}
  for at = 1, select("#", ...), 2 do
    headers[fields[at]] = fields[at + 1]
  end
  return setmetatable(
    { status = tointeger(status), url = url, body = body, headers = setmetatable(headers, HEADERS) },
    RESPONSE
  )
end

-- Append name and value of each header to FIELDS → whether there is a content-type.
local function add_headers(fields, headers, caller)
  local typed = false
  for name, value in next, headers do
    if type(name) ~= "string" then
      raise(caller .. ": the name of a header must be a string, not " .. type(name))
    end
    typed = typed or lower(name) == "content-type"
    local where = caller .. ": the header " .. name
    local values = type(value) == "table" and value or { value }
    for at = 1, rawlen(values) do
      fields[#fields + 1] = name
      fields[#fields + 1] = text_argument(rawget(values, at), where)
    end
  end
  return typed
end

-- A body as text, and its content type.
local function packed(body, caller)
  if body == nil then
    return "", nil
  elseif type(body) == "string" then
    return body, "text/plain; charset=utf-8"
  end
  local text, reason = json.encode(body)
  return text or raise(caller .. ": the body: " .. reason), "application/json"
end

local function fetch(options, caller)
  for name in next, options do
    if not OPTIONS[name] then
      raise(caller .. ": there is no option " .. fault.text_of(name))
    end
  end
  local headers = rawget(options, "headers")
  if headers ~= nil and type(headers) ~= "table" then
    raise(caller .. ": headers must be a table, not " .. type(headers))
  end
  local body, kind = packed(rawget(options, "body"), caller)
  local timeout_ms = rawget(options, "timeout_ms")
  local fields = {
    text_argument(rawget(options, "url"), caller .. ": url"),
    text_argument(rawget(options, "method") or "", caller .. ": method"),
    text_argument(rawget(options, "redirect") or "", caller .. ": redirect"),
    timeout_ms == nil and "" or tostring(integer_argument(timeout_ms, caller .. ": timeout_ms")),
    body,
  }
  if not add_headers(fields, headers or {}, caller) and kind then
    fields[#fields + 1] = "content-type"
    fields[#fields + 1] = kind
  end
  return response_of(invoke("http.fetch", unpack(fields)))
end

-- OPTIONS with what else is known; the script's own table stays as it is.
local function with(options, caller, known)
  if options ~= nil and type(options) ~= "table" then
    raise(caller .. " needs a table of options, not " .. type(options))
  end
  for name, value in next, options or {} do
    if known[name] ~= nil and not rawequal(known[name], value) then
      raise(caller .. ": " .. name .. " is not an option of it; use http.fetch")
    end
    known[name] = value
  end
  return known
end

local public = {}

-- http.fetch{url =, method =, headers =, body =, timeout_ms =, redirect =} → {status, headers, body, url}
function public.fetch(options)
  if type(options) ~= "table" then
    raise("http.fetch needs a table, not " .. type(options))
  end
  return fetch(options, "http.fetch")
end

-- http.get(url, options?)
function public.get(url, options)
  return fetch(with(options, "http.get", { url = text_argument(url, "http.get"), method = "GET" }), "http.get")
end

-- http.post(url, body?, options?)
function public.post(url, body, options)
  local known = { url = text_argument(url, "http.post"), method = "POST", body = body }
  return fetch(with(options, "http.post", known), "http.post")
end

return { public = public }
