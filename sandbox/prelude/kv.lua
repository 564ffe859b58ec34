-- Owns: `kv`, keys and values that last. The work is the trusted side's; here values become text and back.
local modules = ...
local fault, json, remote = modules.fault, modules.json, modules.remote

local number_type, tointeger = math.type, math.tointeger
local utf8_len = utf8.len
local ipairs, rawget, select, tostring, type = ipairs, rawget, select, tostring, type
local unpack = table.unpack
local invoke, raise, text_argument = remote.invoke, fault.raise, fault.text_argument

local FIELDS = 4 -- of an entry: key, kind, value, version

-- A value as the trusted side keeps it: kind, text.
local function packed(value, caller)
  if number_type(value) == "integer" then
    return "number", tostring(value)
  elseif type(value) == "string" and not utf8_len(value) then
    return "bytes", value
  elseif value == nil then
    raise(caller .. ": a value must not be nil; kv.delete(key) removes one, json.null is a value")
  end
  local text, reason = json.encode(value)
  return "json", text or raise(caller .. ": " .. reason)
end

local function unpacked(kind, text)
  if kind == "number" then
    return tointeger(text)
  elseif kind == "bytes" then
    return text
  end
  return (json.decode(text))
end

local function option(options, name, caller)
  local value = options ~= nil and rawget(options, name) or nil
  return value == nil and "" or tostring(fault.integer_argument(value, caller .. ": " .. name))
end

local function options_argument(options, caller)
  if options ~= nil and type(options) ~= "table" then
    raise(caller .. " needs a table of options, not " .. type(options))
  end
  return options
end

-- Seconds, a fraction too, as milliseconds.
local function ttl_of(options, caller)
  local ttl = options ~= nil and rawget(options, "ttl") or nil
  if ttl == nil then
    return ""
  elseif type(ttl) ~= "number" or not (ttl > 0 and ttl < 1e9) then
    raise(caller .. ": ttl must be a number of seconds above 0")
  end
  return tostring(tointeger(ttl * 1000 // 1) or raise(caller .. ": ttl must be a number of seconds above 0"))
end

-- Of the fields of a reply.
local function entries_of(...)
  local fields, entries = { ... }, {}
  for at = 1, select("#", ...), FIELDS do
    entries[#entries + 1] = {
      key = fields[at],
      value = unpacked(fields[at + 1], fields[at + 2]),
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
      return unpacked(kind, text), tointeger(version)
    end
    return nil
  end

  -- kv.set(key, value, {ttl = seconds, if_version = version}) → version; nil if another one is there
  function public.set(key, value, options)
    key, options = text_argument(key, "kv.set"), options_argument(options, "kv.set")
    local kind, text = packed(value, "kv.set")
    local ttl, if_version = ttl_of(options, "kv.set"), option(options, "if_version", "kv.set")
    local version = invoke("kv.set", space, key, kind, text, ttl, if_version)
    return version and tointeger(version)
  end

  -- kv.delete(key, {if_version = version}) → whether it was there; nil if another version is
  function public.delete(key, options)
    key, options = text_argument(key, "kv.delete"), options_argument(options, "kv.delete")
    local gone = invoke("kv.delete", space, key, option(options, "if_version", "kv.delete"))
    return gone and gone == "1"
  end

  -- kv.incr(key, by = 1, {ttl = seconds}) → the new number; ttl is for a key that begins
  function public.incr(key, by, options)
    key, options = text_argument(key, "kv.incr"), options_argument(options, "kv.incr")
    by = by == nil and 1 or fault.integer_argument(by, "kv.incr")
    return tointeger(invoke("kv.incr", space, key, tostring(by), ttl_of(options, "kv.incr")))
  end

  -- kv.get_many{key, …} → a table of key → value, of those that are there, all of one moment
  function public.get_many(keys)
    if type(keys) ~= "table" then
      raise("kv.get_many needs a list of keys, not " .. type(keys))
    end
    local asked = {}
    for at = 1, #keys do
      asked[at] = text_argument(rawget(keys, at), "kv.get_many")
    end
    local values = {}
    if #asked > 0 then
      for _, entry in ipairs(entries_of(invoke("kv.get_many", space, unpack(asked)))) do
        values[entry.key] = entry.value
      end
    end
    return values
  end

  -- kv.list{prefix = "", after = "", limit = 100} → a list of {key, value, version}, in the order of keys
  function public.list(options)
    options = options_argument(options, "kv.list") or {}
    local limit = rawget(options, "limit")
    return json.array(entries_of(invoke(
      "kv.list",
      space,
      text_argument(rawget(options, "prefix") or "", "kv.list: prefix"),
      text_argument(rawget(options, "after") or "", "kv.list: after"),
      tostring(limit == nil and 100 or fault.integer_argument(limit, "kv.list: limit"))
    )))
  end

  return public
end

local public = open("")

-- kv.open(name) → the same functions on a shared space that the script's settings grant
function public.open(name)
  return open(text_argument(name, "kv.open"))
end

return { public = public }
