-- Owns: what a script logs: the words of a line, its length, and the limit on all lines together.
local fault, host, json = (...).fault, (...).host, (...).json

local byte, concat, sub = string.byte, table.concat, string.sub
local getmetatable = debug.getmetatable
local next, rawlen, select, tostring, type = next, rawlen, select, tostring, type
local call, encode, text_of = host.call, json.encode, fault.text_of

local LINE_BYTES_MAX = 60000 -- message and fields: a line is one frame, and a frame has 64 KiB
local FIELDS_BYTES_MAX = 30000
local LINE_OVERHEAD_BYTES = 64 -- what each line costs the limit beside its text: it is a row of a table

local bytes_max, bytes_used, truncated = 0, 0, false

-- The limit on the bytes of all lines.
local function start(log_bytes)
  bytes_max, bytes_used, truncated = log_bytes, 0, false
end

-- Never an error: what cannot be JSON is described.
local function described(value)
  local text, reason = encode(value)
  return text, text or "(not JSON: " .. reason .. ")"
end

local function message_text(value)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "table" then
    local _, words = described(value)
    return words
  elseif kind == "function" or kind == "thread" then
    return text_of(value)
  end
  return tostring(value)
end

local function is_object(value)
  return type(value) == "table" and rawlen(value) == 0 and value ~= json.null and getmetatable(value) ~= json.ARRAY
end

-- A JSON object: FIELDS itself, or what can be said of it.
local function fields_text(fields)
  if fields == nil then
    return ""
  elseif not is_object(fields) then
    fields = { value = fields }
  end
  local text = encode(fields)
  if text then
    return text
  end
  local speakable = {}
  for key, value in next, fields do
    local name = type(key) == "string" and encode(key) and key or "(a key that is not UTF-8 text)"
    local json_text, words = described(value)
    speakable[name] = json_text and value or words
  end
  return encode(speakable) or ""
end

-- At most BYTES of TEXT, cut between characters.
local function cut(text, bytes)
  if #text <= bytes then
    return text
  end
  local stop = bytes - 3
  while stop > 0 and byte(text, stop + 1) & 0xC0 == 0x80 do
    stop = stop - 1
  end
  return sub(text, 1, stop) .. "…"
end

local function write(level, value, fields)
  if truncated then
    return
  end
  local json_text = fields_text(fields)
  if #json_text > FIELDS_BYTES_MAX then
    json_text = '{"truncated":"' .. #json_text .. ' bytes of fields"}'
  end
  local message = cut(message_text(value), LINE_BYTES_MAX - #json_text)
  bytes_used = bytes_used + #message + #json_text + LINE_OVERHEAD_BYTES
  if bytes_used > bytes_max then
    truncated = true
    call("log", "warn", "log truncated: over " .. bytes_max .. " bytes", "")
    return
  end
  call("log", level, message, json_text)
end

local public = {}
for _, level in next, { "debug", "info", "warn", "error" } do
  -- log.LEVEL(message[, fields]): any value as message, a table as fields
  public[level] = function(message, fields)
    write(level, message, fields)
  end
end

-- print(…): log.info of the arguments, with tabs between
local function print(...)
  local words = { ... } -- `select` in a loop would be quadratic
  for at = 1, select("#", ...) do
    words[at] = text_of(words[at])
  end
  write("info", concat(words, "\t"))
end

return { print = print, public = public, start = start }
