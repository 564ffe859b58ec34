-- Owns: `invoke(name, request)`: another script's answer. The work is the trusted side's.
local modules = ...
local fault, json, remote, url = modules.fault, modules.json, modules.remote, modules.url

local lower = string.lower
local concat, sort, unpack = table.concat, table.sort, table.unpack
local next, rawget, select, setmetatable, tointeger, type = next, rawget, select, setmetatable, math.tointeger, type
local raise, text_argument = fault.raise, fault.text_argument

-- The words of a request's table, checked; an unknown one is a mistake.
local KNOWN = { method = true, path = true, query = true, headers = true, body = true }

local function query_text(query)
  if type(query) == "table" then
    return url.encode_query(query)
  end
  return text_argument(query or "", "invoke: query")
end

-- name, value, … in the order of names; lists are repeats.
local function header_fields(headers)
  local names, fields = {}, {}
  for name in next, headers or {} do
    names[#names + 1] = text_argument(name, "invoke: a header's name")
  end
  sort(names)
  for at = 1, #names do
    local value = rawget(headers, names[at])
    fields[#fields + 1] = names[at]
    fields[#fields + 1] = text_argument(value, "invoke: header '" .. names[at] .. "'")
  end
  return fields
end

local ANSWER = { __metatable = false, __index = {} }

-- answer:json() → the value that its body says
function ANSWER.__index.json(answer)
  local value, reason = json.decode(rawget(answer, "body"))
  if value == nil then
    raise("the answer is not JSON: " .. reason)
  end
  return value
end

local function answer_of(status, body, ...)
  local fields, headers = { ... }, {}
  for at = 1, select("#", ...), 2 do
    local name, value = lower(fields[at]), fields[at + 1]
    headers[name] = headers[name] and headers[name] .. ", " .. value or value
  end
  return setmetatable({ status = tointeger(status), headers = headers, body = body }, ANSWER)
end

-- invoke(name, {method = "POST", path = "/", query = , headers = , body = }) → {status, headers, body}, answer:json()
local function invoke(name, request)
  name = text_argument(name, "invoke")
  if request ~= nil and type(request) ~= "table" then
    raise("invoke needs a table as request, not " .. type(request))
  end
  request = request or {}
  for key in next, request do
    if not KNOWN[key] then
      raise("invoke: a request has no '" .. fault.text_of(key) .. "'")
    end
  end
  local headers, body = header_fields(rawget(request, "headers")), rawget(request, "body")
  if type(body) == "table" then
    local text, reason = json.encode(body)
    body = text or raise("invoke: body: " .. reason)
    headers[#headers + 1], headers[#headers + 2] = "content-type", "application/json"
  end
  return answer_of(remote.invoke(
    "script.invoke",
    name,
    text_argument(rawget(request, "method") or "POST", "invoke: method"),
    text_argument(rawget(request, "path") or "/", "invoke: path"),
    query_text(rawget(request, "query")),
    text_argument(body or "", "invoke: body"),
    unpack(headers)
  ))
end

return { public = invoke }
