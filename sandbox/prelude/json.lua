-- Owns: JSON (RFC 8259), both ways. Reads tables raw: no metamethod of a script's ever runs in here.
--   {} is an object; a non-empty sequence, json.array{…} and every decoded array are arrays; json.null is null.
--   Keys come out sorted, integers as integers, floats as the shortest text that reads back the same.
--   What cannot be JSON is an error that names its path: `$.items[3].name: NaN cannot be JSON`.
local fault = (...).fault

local byte, char, find, format, gsub, match, rep, sub =
  string.byte, string.char, string.find, string.format, string.gsub, string.match, string.rep, string.sub
local concat, sort = table.concat, table.sort
local huge, integer_of, number_type = math.huge, math.tointeger, math.type
local utf8_char, utf8_len, utf8_pattern = utf8.char, utf8.len, "^" .. utf8.charpattern
local getmetatable, setmetatable = debug.getmetatable, debug.setmetatable
local error, next, pcall, rawequal, rawget, rawlen, tonumber, type =
  error, next, pcall, rawequal, rawget, rawlen, tonumber, type
local raise = fault.raise

local DEPTH_MAX = 128
local FAILED = {} -- what the encoder and decoder throw at themselves; the words are in `problem`
local problem

local ARRAY = { __name = "json.array", __metatable = false }
local null = setmetatable({}, {
  __name = "json.null",
  __metatable = false,
  __tostring = function()
    return "null"
  end,
  __newindex = function()
    raise("json.null cannot be changed")
  end,
})

---------------------------------------------------------------------------------------------------------------- encode

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }
for code = 0, 31 do
  ESCAPES[char(code)] = ESCAPES[char(code)] or format("\\u%04x", code)
end

local out, size -- pieces of text, how many
local path -- depth → the key that led there
local open -- tables being written: one met again contains itself
local indent -- spaces a level, or nil

local function path_text(depth)
  local parts = { "$" }
  for level = 1, depth do
    local key = path[level]
    if type(key) ~= "string" then
      parts[level + 1] = "[" .. key .. "]"
    elseif find(key, "^[%a_][%w_]*$") and #key <= 64 then
      parts[level + 1] = "." .. key
    else
      parts[level + 1] = format("[%q]", sub(key, 1, 64))
    end
  end
  return concat(parts)
end

local function refuse(depth, reason)
  problem = path_text(depth) .. ": " .. reason
  error(FAILED, 0)
end

local function quoted(text, depth)
  local length, bad = utf8_len(text)
  if not length then
    refuse(depth, "text that is not UTF-8 (byte " .. bad .. ") cannot be JSON")
  end
  if find(text, '[%c"\\]') then
    text = gsub(text, '[%c"\\]', ESCAPES)
  end
  return '"' .. text .. '"'
end

local function number_text(value, depth)
  if number_type(value) == "integer" then
    return format("%d", value)
  elseif value ~= value then
    refuse(depth, "NaN cannot be JSON")
  elseif value == huge or value == -huge then
    refuse(depth, "infinity cannot be JSON")
  end
  for digits = 14, 16 do
    local text = format("%." .. digits .. "g", value)
    if tonumber(text) == value then
      return text
    end
  end
  return format("%.17g", value)
end

-- Why a table with a sequence part of LENGTH is no array.
local function refuse_array(value, length, depth)
  for key in next, value do
    if number_type(key) ~= "integer" or key < 1 then
      refuse(depth, "a table with both a list and other keys cannot be JSON")
    end
  end
  refuse(depth, "a list with holes cannot be JSON")
end

local write

local function write_array(value, length, depth)
  local count = 0
  for _ in next, value do
    count = count + 1
  end
  if count ~= length then
    refuse_array(value, length, depth)
  end
  local line = indent and "\n" .. rep(" ", indent * (depth + 1))
  for at = 1, length do
    local item = rawget(value, at)
    if item == nil then
      refuse_array(value, length, depth)
    end
    size = size + 1
    out[size] = at == 1 and "[" or ","
    if line then
      size = size + 1
      out[size] = line
    end
    path[depth + 1] = at
    write(item, depth + 1)
  end
  size = size + 1
  out[size] = length == 0 and "[]" or line and "\n" .. rep(" ", indent * depth) .. "]" or "]"
end

local function sorted_keys(value, depth)
  local keys, count = {}, 0
  for key in next, value do
    if type(key) ~= "string" then
      refuse(depth, "a table with a key that is a " .. type(key) .. " cannot be JSON")
    end
    count = count + 1
    keys[count] = key
  end
  sort(keys)
  return keys, count
end

local function write_object(value, depth)
  local keys, count = sorted_keys(value, depth)
  local line = indent and "\n" .. rep(" ", indent * (depth + 1)) or ""
  local colon = indent and ": " or ":"
  for at = 1, count do
    local key = keys[at]
    path[depth + 1] = key
    size = size + 1
    out[size] = (at == 1 and "{" or ",") .. line .. quoted(key, depth + 1) .. colon
    write(rawget(value, key), depth + 1)
  end
  size = size + 1
  out[size] = count == 0 and "{}" or indent and "\n" .. rep(" ", indent * depth) .. "}" or "}"
end

local function write_table(value, depth)
  if open[value] then
    refuse(depth, "a table that contains itself cannot be JSON")
  elseif depth >= DEPTH_MAX then
    refuse(depth, "tables nested deeper than " .. DEPTH_MAX .. " cannot be JSON")
  end
  open[value] = true
  local length = rawlen(value)
  if length > 0 or getmetatable(value) == ARRAY then
    write_array(value, length, depth)
  else
    write_object(value, depth)
  end
  open[value] = nil
end

function write(value, depth)
  local kind = type(value)
  local text
  if kind == "string" then
    text = quoted(value, depth)
  elseif kind == "number" then
    text = number_text(value, depth)
  elseif kind == "boolean" then
    text = value and "true" or "false"
  elseif rawequal(value, null) or kind == "nil" then
    text = "null"
  elseif kind == "table" then
    return write_table(value, depth)
  else
    refuse(depth, "a " .. kind .. " cannot be JSON")
  end
  size = size + 1
  out[size] = text
end

-- VALUE as text; or nil and why not, with the path.
local function encode(value, spaces)
  out, size, path, open, indent = {}, 0, {}, {}, spaces
  local done, fell = pcall(write, value, 0)
  local pieces = out
  out, path, open = nil, nil, nil
  if done then
    return concat(pieces)
  elseif fell ~= FAILED then
    error(fell, 0) -- memory
  end
  return nil, problem
end

---------------------------------------------------------------------------------------------------------------- decode

local text, last -- what is read, and its length

local function position_text(at)
  local line, from = 1, 1
  while true do
    local newline = find(text, "\n", from, true)
    if not newline or newline >= at then
      break
    end
    line, from = line + 1, newline + 1
  end
  local column = (utf8_len(text, from, at - 1, true) or at - from) + 1
  return "line " .. line .. ", column " .. column
end

local function found_text(at)
  if at > last then
    return "the end of the text"
  end
  local head = match(text, "^[%w_.+-]+", at) or match(text, utf8_pattern, at) or "?"
  return "'" .. sub(head, 1, 20) .. "'"
end

local function fail(at, reason)
  problem = position_text(at) .. ": " .. reason
  error(FAILED, 0)
end

local function expected(at, what)
  fail(at, "expected " .. what .. ", found " .. found_text(at))
end

local function skip(at)
  return find(text, "[^ \n\r\t]", at) or last + 1
end

local UNESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- The character of the \u escape at AT (its backslash), and where it ends.
local function unicode_escape(at)
  local code = match(text, "^u(%x%x%x%x)", at + 1)
  if not code then
    fail(at, "\\u needs four hexadecimal digits")
  end
  code = tonumber(code, 16)
  if code < 0xD800 or code > 0xDFFF then
    return utf8_char(code), at + 6
  end
  local low = code < 0xDC00 and match(text, "^\\u([dD][c-fC-F]%x%x)", at + 6)
  if not low then
    fail(at, "half of a surrogate pair")
  end
  return utf8_char(0x10000 + ((code - 0xD800) << 10) + (tonumber(low, 16) - 0xDC00)), at + 12
end

-- The string whose opening quote is at AT, and what follows it.
local function read_string(at)
  local from = at + 1
  local stop = find(text, '["\\%c]', from)
  local pieces, count
  while true do
    local code = stop and byte(text, stop)
    if code == 34 then
      local piece = sub(text, from, stop - 1)
      if not pieces then
        return piece, stop + 1
      end
      pieces[count + 1] = piece
      return concat(pieces), stop + 1
    elseif code == 92 then
      pieces, count = pieces or {}, count or 0
      pieces[count + 1] = sub(text, from, stop - 1)
      local plain = UNESCAPES[sub(text, stop + 1, stop + 1)]
      if plain then
        pieces[count + 2], from = plain, stop + 2
      elseif byte(text, stop + 1) == 117 then
        pieces[count + 2], from = unicode_escape(stop)
      else
        fail(stop, "no such escape: \\" .. sub(text, stop + 1, stop + 1))
      end
      count = count + 2
      stop = find(text, '["\\%c]', from)
    elseif code == 127 then
      stop = find(text, '["\\%c]', stop + 1) -- DEL is no control character to JSON
    elseif code then
      fail(stop, "a control character in a string must be escaped")
    else
      fail(last + 1, "a string is not closed")
    end
  end
end

local function read_number(at)
  local digits, stop = match(text, "^(-?%d+)()", at)
  if not digits then
    expected(at, "a value")
  elseif find(digits, "^-?0%d") then
    fail(at, "a number with a leading zero")
  end
  local fraction = match(text, "^%.%d+()", stop)
  local exponent = match(text, "^[eE][+-]?%d+()", fraction or stop)
  local after = exponent or fraction or stop
  if find(text, "^[%w_.+-]", after) then
    fail(at, "not a number: " .. found_text(at))
  end
  local value = tonumber(sub(text, at, after - 1)) -- integers beyond 2^63 become floats
  if value == huge or value == -huge then
    fail(at, "a number out of range")
  end
  return value, after
end

local read_value

local function read_array(at, depth)
  local array, count = setmetatable({}, ARRAY), 0
  at = skip(at + 1)
  if byte(text, at) == 93 then
    return array, at + 1
  end
  while true do
    count = count + 1
    array[count], at = read_value(at, depth)
    at = skip(at)
    local code = byte(text, at)
    if code == 93 then
      return array, at + 1
    elseif code ~= 44 then
      expected(at, "',' or ']'")
    end
    at = skip(at + 1)
  end
end

local function read_object(at, depth)
  local object = {}
  at = skip(at + 1)
  if byte(text, at) == 125 then
    return object, at + 1
  end
  while true do
    if byte(text, at) ~= 34 then
      expected(at, "a key in quotes")
    end
    local key
    key, at = read_string(at)
    at = skip(at)
    if byte(text, at) ~= 58 then
      expected(at, "':'")
    end
    object[key], at = read_value(skip(at + 1), depth)
    at = skip(at)
    local code = byte(text, at)
    if code == 125 then
      return object, at + 1
    elseif code ~= 44 then
      expected(at, "',' or '}'")
    end
    at = skip(at + 1)
  end
end

local WORDS = { ["true"] = true, ["false"] = false, ["null"] = null }

function read_value(at, depth)
  local code = byte(text, at)
  if code == 34 then
    return read_string(at)
  elseif code == 123 or code == 91 then
    if depth >= DEPTH_MAX then
      fail(at, "nested deeper than " .. DEPTH_MAX)
    end
    return (code == 91 and read_array or read_object)(at, depth + 1)
  end
  local word = match(text, "^%a+", at)
  if word and WORDS[word] ~= nil then
    return WORDS[word], at + #word
  end
  return read_number(at)
end

local function read_text()
  local length, bad = utf8_len(text)
  if not length then
    problem = "byte " .. bad .. ": not UTF-8"
    error(FAILED, 0)
  end
  local value, at = read_value(skip(1), 0)
  at = skip(at)
  if at <= last then
    expected(at, "the end of the text")
  end
  return value
end

-- The value that JSON says; or nil and why it says none, with the position. (null is json.null, so nil means failure.)
local function decode(json)
  text, last = json, #json
  local done, value = pcall(read_text)
  text = nil
  if done then
    return value
  elseif value ~= FAILED then
    error(value, 0) -- memory
  end
  return nil, problem
end

---------------------------------------------------------------------------------------------------- what a script sees

local public = { null = null }

-- json.encode(value[, {indent = 2}]) → text
function public.encode(value, options)
  local spaces = type(options) == "table" and rawget(options, "indent") or nil
  if spaces ~= nil then
    spaces = integer_of(spaces)
    if not spaces or spaces < 0 or spaces > 16 then
      raise("json.encode: indent must be 0 to 16 spaces")
    end
  end
  local encoded, reason = encode(value, spaces)
  if not encoded then
    raise(reason)
  end
  return encoded
end

-- json.decode(text) → value
function public.decode(json)
  local value, reason = decode(fault.text_argument(json, "json.decode"))
  if value == nil then
    raise("not JSON: " .. reason)
  end
  return value
end

-- json.array(list?) → the same table, an array even when it is empty
function public.array(list)
  if list == nil then
    list = {}
  elseif type(list) ~= "table" then
    raise("json.array needs a table, not " .. type(list))
  end
  return setmetatable(list, ARRAY)
end

return { ARRAY = ARRAY, array = public.array, decode = decode, encode = encode, null = null, public = public }
