-- Owns: how values and errors are described to people: at the script's line, without addresses, without our own frames.
local getinfo, getmetatable, traceback = debug.getinfo, debug.getmetatable, debug.traceback
local find, format, gsub, sub = string.find, string.format, string.gsub, string.sub
local tointeger, unpack = math.tointeger, table.unpack
local error, next, pcall, rawget, select, setmetatable, tostring, type =
  error, next, pcall, rawget, select, setmetatable, tostring, type

local OURS = "=prelude/"
local TRACEBACK_BYTES_MAX = 8192
local FRAMES_MAX = 40 -- how far up to look for the script

-- The script's innermost frame: file, line; nil if there is none (a handler that tail-called us has left the stack).
local function script_frame()
  for level = 2, FRAMES_MAX do
    local info = getinfo(level, "Sl")
    if not info then
      return nil
    end
    if info.currentline > 0 and sub(info.source, 1, #OURS) ~= OURS then
      return info.short_src, info.currentline
    end
  end
  return nil
end

-- An error at the script's line, whatever of ours lies between.
local function raise(message)
  local file, line = script_frame()
  if file then
    message = file .. ":" .. line .. ": " .. message
  end
  error(message, 0)
end

local function results(name, done, ...)
  if done then
    return ...
  end
  local reason = ...
  if type(reason) == "string" and not find(reason, "^not enough memory$") then
    raise((gsub(reason, "'%?'", "'" .. name .. "'", 1)))
  end
  error(reason, 0)
end

-- Wrap a function of C so that its complaints carry the script's line and its public NAME.
local function guard(name, inner)
  return function(...)
    return results(name, pcall(inner, ...))
  end
end

-- Children of one zygote share their addresses, and addresses help attacks: each object gets a number of its own instead.
local numbers = setmetatable({}, { __mode = "k" })
local numbered = 0
local function pointer(object)
  local number = numbers[object]
  if not number then
    numbered = numbered + 1
    number = format("0x%08x", numbered)
    numbers[object] = number
  end
  return number
end

-- `tostring` with masked addresses.
local function text_of(value)
  local kind = type(value)
  if kind == "string" then
    return value
  end
  if kind == "number" or kind == "boolean" or kind == "nil" then
    return tostring(value)
  end
  local meta = getmetatable(value)
  if meta then
    local convert = rawget(meta, "__tostring")
    if convert ~= nil then
      local text = convert(value)
      if type(text) == "number" then
        return tostring(text)
      elseif type(text) ~= "string" then
        raise("'__tostring' must return a string")
      end
      return text
    end
    local name = rawget(meta, "__name")
    if type(name) == "string" then
      kind = name
    end
  end
  return kind .. ": " .. pointer(value)
end

local ADDRESSED = { table = true, ["function"] = true, thread = true, userdata = true }

local function masked_format(template, ...)
  local count, values, at = select("#", ...), { ... }, 0
  local rewritten = gsub(template, "%%([-+ #0-9.]*)(.)", function(flags, kind)
    if kind == "%" then
      return nil
    end
    at = at + 1
    local value = values[at]
    if kind == "s" and ADDRESSED[type(value)] then
      values[at] = text_of(value)
    elseif kind == "p" and at <= count then
      values[at] = (ADDRESSED[type(value)] or type(value) == "string") and pointer(value) or "(null)"
      return "%" .. flags .. "s"
    end
    return nil
  end)
  return format(rewritten, unpack(values, 1, count))
end
local guarded_format, guarded_masked = guard("format", format), guard("format", masked_format)

-- `string.format` with masked addresses.
local function format_text(...)
  local template = ...
  if type(template) ~= "string" then
    return guarded_format(...)
  end
  local plain = not find(template, "p", 1, true)
  for at = 2, plain and select("#", ...) or 0 do
    if ADDRESSED[type((select(at, ...)))] then
      plain = false
    end
  end
  if plain then
    return guarded_format(...)
  end
  return guarded_masked(...)
end

-- An argument that must be text; numbers count as text, as they do in Lua.
local function text_argument(value, caller)
  if type(value) == "string" then
    return value
  elseif type(value) == "number" then
    return tostring(value)
  end
  raise(caller .. " needs a string, not " .. type(value))
end

-- An argument that must be a whole number.
local function integer_argument(value, caller)
  local whole = tointeger(value)
  if not whole then
    raise(caller .. " needs an integer, not " .. (type(value) == "number" and tostring(value) or type(value)))
  end
  return whole
end

-- A table of options, of which there are these.
local function options_argument(options, known, caller)
  if options == nil then
    return {}
  elseif type(options) ~= "table" then
    raise(caller .. " needs a table of options, not " .. type(options))
  end
  for name in next, options do
    if not known[name] then
      raise(caller .. ": there is no option '" .. text_of(name) .. "'")
    end
  end
  return options
end

-- Lua's traceback of the caller's caller, without frames of ours.
local function trace()
  local text = traceback("", 3)
  text = gsub(text, "\n\tprelude/[^\n]*", "")
  text = gsub(text, "\n\t%(%.%.%.tail calls%.%.%.%)$", "")
  text = gsub(text, "\n\t%[C%]: in function 'xpcall'$", "")
  return sub(text, 2, TRACEBACK_BYTES_MAX)
end

return {
  format_text = format_text,
  guard = guard,
  integer_argument = integer_argument,
  options_argument = options_argument,
  raise = raise,
  script_frame = script_frame,
  text_argument = text_argument,
  text_of = text_of,
  trace = trace,
}
