-- Owns: percent-encoding, URLs and query strings (RFC 3986; a query's `+` is a space, as forms write it).
local fault = (...).fault

local byte, char, find, format, gmatch, gsub, match, sub =
  string.byte, string.char, string.find, string.format, string.gmatch, string.gsub, string.match, string.sub
local concat, sort = table.concat, table.sort
local next, rawget, rawlen, tointeger, tonumber, type = next, rawget, rawlen, math.tointeger, tonumber, type
local raise, text_argument, text_of = fault.raise, fault.text_argument, fault.text_of

local ENCODED, DECODED = {}, {}
for code = 0, 255 do
  ENCODED[char(code)] = format("%%%02X", code)
  for _, style in next, { "%02x", "%02X" } do
    DECODED[format(style, code)] = char(code)
  end
end

local function encode(text)
  return (gsub(text, "[^%w%-._~]", ENCODED))
end

local function decode_pair(hex)
  return DECODED[hex] or char(tonumber(hex, 16)) -- %aB: neither case
end

-- What is no escape stays as it is: people type `100%`.
local function decode(text)
  if not find(text, "%", 1, true) then
    return text
  end
  return (gsub(text, "%%(%x%x)", decode_pair))
end

local function decode_field(text)
  if find(text, "+", 1, true) then
    text = gsub(text, "+", " ")
  end
  return decode(text)
end

-- first values, all values as lists
local function decode_query(text)
  local first, all = {}, {}
  for pair in gmatch(text, "[^&]+") do
    local equals = find(pair, "=", 1, true)
    local name = decode_field(equals and sub(pair, 1, equals - 1) or pair)
    local value = equals and decode_field(sub(pair, equals + 1)) or ""
    local list = all[name]
    if list then
      list[#list + 1] = value
    else
      first[name], all[name] = value, { value }
    end
  end
  return first, all
end

local function scalar(value, name)
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" then
    raise("url.build: query." .. text_of(name) .. " is a " .. kind .. ", not text")
  end
  return encode(text_of(value))
end

local function encode_query(query)
  local names, pairs_out = {}, {}
  for name in next, query do
    if type(name) ~= "string" then
      raise("url.build: a key of query is a " .. type(name) .. ", not a string")
    end
    names[#names + 1] = name
  end
  sort(names)
  for at = 1, #names do
    local name, value = names[at], rawget(query, names[at])
    if type(value) ~= "table" then
      value = { value }
    end
    for item = 1, rawlen(value) do
      pairs_out[#pairs_out + 1] = encode(name) .. "=" .. scalar(rawget(value, item), name)
    end
  end
  return concat(pairs_out, "&")
end

local public = {}

-- url.encode(text) → text safe as one path segment or query value (a space is %20)
function public.encode(text)
  return encode(text_argument(text, "url.encode"))
end

-- url.decode(text) → text; `+` stays `+`
function public.decode(text)
  return decode(text_argument(text, "url.decode"))
end

local function parse_authority(parts, authority)
  local user, rest = match(authority, "^(.*)@(.*)$")
  if user then
    local colon = find(user, ":", 1, true)
    parts.user = decode(colon and sub(user, 1, colon - 1) or user)
    parts.password = colon and decode(sub(user, colon + 1)) or nil
    authority = rest
  end
  local host, port = match(authority, "^%[(.-)%]:?(.*)$")
  if not host then
    host, port = match(authority, "^([^:]*):?(.*)$")
  end
  parts.host = host
  if port ~= "" then
    parts.port = find(port, "^%d+$") and tointeger(tonumber(port)) or nil
    if not parts.port or parts.port > 65535 then
      raise("url.parse: '" .. sub(port, 1, 40) .. "' is no port")
    end
  end
end

-- url.parse(text) → {scheme, user, password, host, port, path, query, fragment}; what is missing is nil, the path is text
function public.parse(text)
  text = text_argument(text, "url.parse")
  local parts, rest = {}, text
  local hash = find(rest, "#", 1, true)
  if hash then
    parts.fragment, rest = sub(rest, hash + 1), sub(rest, 1, hash - 1)
  end
  local mark = find(rest, "?", 1, true)
  if mark then
    parts.query, rest = sub(rest, mark + 1), sub(rest, 1, mark - 1)
  end
  local scheme, after = match(rest, "^(%a[%w+.-]*):(.*)$")
  if scheme then
    parts.scheme, rest = gsub(scheme, "%u", function(letter)
      return char(byte(letter) + 32)
    end), after
  end
  local authority, path = match(rest, "^//([^/]*)(.*)$")
  if authority then
    parse_authority(parts, authority)
    rest = path
  end
  parts.path = rest
  return parts
end

local function build_authority(parts)
  local host = parts.host
  local user = parts.user and encode(parts.user) .. (parts.password and ":" .. encode(parts.password) or "") .. "@" or ""
  if find(host, ":", 1, true) then
    host = "[" .. host .. "]"
  end
  return "//" .. user .. host .. (parts.port and ":" .. parts.port or "")
end

-- url.build(parts) → text; `parts` as url.parse returns them, `query` also a table: values are text or lists of it
function public.build(parts)
  if type(parts) ~= "table" then
    raise("url.build needs a table, not " .. type(parts))
  end
  local text = {}
  for _, name in next, { "scheme", "user", "password", "host", "port", "path", "query", "fragment" } do
    local value = rawget(parts, name)
    if value ~= nil and not (name == "query" and type(value) == "table") then
      value = text_argument(value, "url.build: " .. name)
    end
    text[name] = value
  end
  local query = text.query
  if type(query) == "table" then
    query = encode_query(query)
  end
  local path = text.path or ""
  if text.host and path ~= "" and sub(path, 1, 1) ~= "/" then
    path = "/" .. path
  end
  return (text.scheme and text.scheme .. ":" or "")
    .. (text.host and build_authority(text) or "")
    .. path
    .. (query and query ~= "" and "?" .. query or "")
    .. (text.fragment and "#" .. text.fragment or "")
end

return { decode_query = decode_query, encode_query = encode_query, public = public }
