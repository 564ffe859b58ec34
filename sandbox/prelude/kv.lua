-- Owns: `kv`, keys and values that last. The work is the trusted side's; here values become text and back.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local max, tointeger = math.max, math.tointeger
local utf8_len = utf8.len
local find = string.find
local ipairs, rawget, rawlen, select, tostring, type = ipairs, rawget, rawlen, select, tostring, type
local unpack = table.unpack
local invoke, options_argument, raise, text_argument = remote.invoke, fault.options_argument, fault.raise, fault.text_argument

local FIELDS = 4 -- of an entry: key, kind, value, version
local TTL_MAX = 10 * 366 * 24 * 60 * 60 -- seconds
local OF_SET, OF_DELETE, OF_INCR = { ttl = true, if_version = true }, { if_version = true }, { ttl = true }
local OF_LIST = { prefix = true, after = true, limit = true }

-- A value as the trusted side takes it: kind, text.
local function packed(value, caller)
  local whole = type(value) == "number" and tointeger(value)
  if whole then
    return "number", tostring(whole)
  elseif type(value) == "string" then
    return utf8_len(value) and "text" or "bytes", value
  elseif value == nil then
    raise(caller .. ": a value must not be nil; kv.delete(key) removes one, json.null is a value")
  end
  local text, reason = json.encode(value)
  return "json", text or raise(caller .. ": " .. reason)
end

local function unpacked(kind, text, caller)
  if kind == "number" then
    return tointeger(text)
  elseif kind == "bytes" then
    return text
  end
  local value, reason = json.decode(text)
  if value == nil then
    raise(caller .. ": what is there cannot be read: " .. reason)
  end
  return value
end

-- A whole number as text, '' if it is left out.
local function whole(value, caller)
  return value == nil and "" or tostring(fault.integer_argument(value, caller))
end

-- Seconds, a fraction too, as milliseconds; '' if it is left out.
local function milliseconds(ttl, caller)
  if ttl == nil then
    return ""
  elseif type(ttl) ~= "number" or not (ttl > 0 and ttl <= TTL_MAX) then
    raise(caller .. ": ttl must be a number of seconds above 0, at most " .. TTL_MAX)
  end
  return tostring(max(1, tointeger(ttl * 1000 // 1)))
end

-- Of the fields of a reply.
local function entries_of(caller, ...)
  local fields, entries = { ... }, {}
  for at = 1, select("#", ...), FIELDS do
    entries[#entries + 1] = {
      key = fields[at],
      value = unpacked(fields[at + 1], fields[at + 2], caller),
      version = tointeger(fields[at + 3]),
    }
  end
  return entries
end

-- The functions of one space: '' is the script's own.
local function open(space)
  local public = {}

  -- kv.get(key) → value, version; nil if there is none
  function public.get(key)
    local _, kind, text, version = invoke("kv.get", space, text_argument(key, "kv.get"))
    if kind then
      return unpacked(kind, text, "kv.get"), tointeger(version)
    end
    return nil
  end

  -- kv.set(key, value, {ttl = seconds, if_version = version}) → version; nil if another one is there
  function public.set(key, value, options)
    key, options = text_argument(key, "kv.set"), options_argument(options, OF_SET, "kv.set")
    local kind, text = packed(value, "kv.set")
    local ttl = milliseconds(rawget(options, "ttl"), "kv.set")
    local version = invoke("kv.set", space, key, kind, text, ttl, whole(rawget(options, "if_version"), "kv.set: if_version"))
    return version and tointeger(version)
  end

  -- kv.delete(key, {if_version = version}) → whether it was there, and that version
  function public.delete(key, options)
    key, options = text_argument(key, "kv.delete"), options_argument(options, OF_DELETE, "kv.delete")
    return invoke("kv.delete", space, key, whole(rawget(options, "if_version"), "kv.delete: if_version")) == "1"
  end

  -- kv.incr(key, by = 1, {ttl = seconds}) → the new number; ttl is for a key that begins
  function public.incr(key, by, options)
    key, options = text_argument(key, "kv.incr"), options_argument(options, OF_INCR, "kv.incr")
    by = by == nil and "1" or whole(by, "kv.incr")
    return tointeger(invoke("kv.incr", space, key, by, milliseconds(rawget(options, "ttl"), "kv.incr")))
  end

  -- kv.get_many{key, …} → a table of key → value, of those that are there, all of one moment
  function public.get_many(keys)
    if type(keys) ~= "table" then
      raise("kv.get_many needs a list of keys, not " .. type(keys))
    end
    local asked = {}
    for at = 1, rawlen(keys) do
      asked[at] = text_argument(rawget(keys, at), "kv.get_many")
    end
    local values = {}
    if #asked > 0 then
      for _, entry in ipairs(entries_of("kv.get_many", invoke("kv.get_many", space, unpack(asked)))) do
        values[entry.key] = entry.value
      end
    end
    return values
  end

  -- kv.list{prefix = "", after = "", limit = 100} → a list of {key, value, version}, in the order of keys
  function public.list(options)
    options = options_argument(options, OF_LIST, "kv.list")
    local prefix, after, limit = rawget(options, "prefix"), rawget(options, "after"), rawget(options, "limit")
    return json.array(entries_of("kv.list", invoke(
      "kv.list",
      space,
      prefix == nil and "" or text_argument(prefix, "kv.list: prefix"),
      after == nil and "" or text_argument(after, "kv.list: after"),
      limit == nil and "100" or whole(limit, "kv.list: limit")
    )))
  end

  return public
end

local public = open("")

-- kv.open(name) → the same functions on a shared space that the script's settings grant
function public.open(name)
  name = text_argument(name, "kv.open")
  if #name > 63 or not find(name, "^[a-z0-9][a-z0-9-]*$") then
    raise("kv.open: a space's name has 1 to 63 letters a to z, digits and '-', no '-' first")
  end
  return open(name)
end

return { public = public }
