-- Owns: base64 (RFC 4648 section 4, padded) and base64url (section 5, written without padding, read with or without).
local fault = (...).fault

local byte, char, find, sub = string.byte, string.char, string.find, string.sub
local concat = table.concat
local raise, text_argument = fault.raise, fault.text_argument

local STANDARD = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local URL = sub(STANDARD, 1, 62) .. "-_"

local function tables(alphabet)
  local letters, values = {}, {}
  for value = 0, 63 do
    letters[value] = sub(alphabet, value + 1, value + 1)
    values[byte(alphabet, value + 1)] = value
  end
  return letters, values
end

local function encode(text, letters, pad)
  local out, size, whole = {}, 0, #text - #text % 3
  for at = 1, whole, 3 do
    local a, b, c = byte(text, at, at + 2)
    size = size + 1
    out[size] = letters[a >> 2] .. letters[(a & 3) << 4 | b >> 4] .. letters[(b & 15) << 2 | c >> 6] .. letters[c & 63]
  end
  local a, b = byte(text, whole + 1, whole + 2)
  if b then
    out[size + 1] = letters[a >> 2] .. letters[(a & 3) << 4 | b >> 4] .. letters[(b & 15) << 2] .. pad
  elseif a then
    out[size + 1] = letters[a >> 2] .. letters[(a & 3) << 4] .. pad .. pad
  end
  return concat(out)
end

-- BODY holds no padding and only letters of the alphabet.
local function decode(body, values)
  local out, size, whole = {}, 0, #body - #body % 4
  for at = 1, whole, 4 do
    local a, b, c, d = byte(body, at, at + 3)
    local bits = values[a] << 18 | values[b] << 12 | values[c] << 6 | values[d]
    size = size + 1
    out[size] = char(bits >> 16, bits >> 8 & 255, bits & 255)
  end
  local a, b, c = byte(body, whole + 1, whole + 3)
  if c then
    local bits = values[a] << 10 | values[b] << 4 | values[c] >> 2
    out[size + 1] = char(bits >> 8, bits & 255)
  elseif b then
    out[size + 1] = char(values[a] << 2 | values[b] >> 4)
  end
  return concat(out)
end

-- The letters of TEXT without its padding, checked.
local function letters_of(text, stray, padded, caller)
  local padding = find(text, "=?=$") or #text + 1
  local bad = find(text, stray)
  if bad and bad < padding then
    raise(caller .. ": byte " .. bad .. " is not a letter of the alphabet")
  end
  local count, pads = padding - 1, #text - padding + 1
  local partial = count % 4
  if partial == 1 then
    raise(caller .. ": the text is cut off at byte " .. count)
  elseif pads > 0 and partial + pads ~= 4 or padded and pads == 0 and partial ~= 0 then
    raise(caller .. ": wrong padding at byte " .. padding)
  end
  return sub(text, 1, count)
end

local standard_letters, standard_values = tables(STANDARD)
local url_letters, url_values = tables(URL)
local public = {}

-- base64.encode(bytes) → text, padded
function public.encode(bytes)
  return encode(text_argument(bytes, "base64.encode"), standard_letters, "=")
end

-- base64.decode(text) → bytes; an error names the position
function public.decode(text)
  text = text_argument(text, "base64.decode")
  return decode(letters_of(text, "[^%w+/]", true, "base64.decode"), standard_values)
end

-- base64.url_encode(bytes) → text, no padding
function public.url_encode(bytes)
  return encode(text_argument(bytes, "base64.url_encode"), url_letters, "")
end

-- base64.url_decode(text) → bytes; padding may be there or not
function public.url_decode(text)
  text = text_argument(text, "base64.url_decode")
  return decode(letters_of(text, "[^%w_-]", false, "base64.url_decode"), url_values)
end

return { public = public }
