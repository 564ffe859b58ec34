-- Owns: `stream(make)`, an answer whose body is sent while it is made: what may be written, and how much.
local fault, host = (...).fault, (...).host

local format, sub = string.format, string.sub
local setmetatable, type = setmetatable, type
local unpack = table.unpack
local call, raise, text_argument = host.call, fault.raise, fault.text_argument

local PIECE_BYTES = 65534 -- of a frame: sandbox/protocol.py, CHUNK_BYTES_MAX
local PIECES_MAX = 100000 -- as sandbox/protocol.py has it

-- What `stream` gives is a function, so that JSON refuses it wherever it does not belong.
local made_by = setmetatable({}, { __mode = "k" })

local bytes_max, bytes_left, pieces_left = 0, 0, 0
local begun, overflow

-- Before a run: how much it may write.
local function start(response_bytes)
  bytes_max, bytes_left, pieces_left = response_bytes, response_bytes, PIECES_MAX
  begun, overflow = false, nil
end

-- stream(make) → what a handler returns, as the answer or as its body, to have make(write) write the body
local function stream(make)
  if type(make) ~= "function" then
    raise("stream needs a function, not " .. type(make))
  end
  local function answer()
    raise("a stream cannot be called: return it, make(write) runs then")
    return make
  end
  made_by[answer] = make
  return answer
end

local function is_stream(value)
  return type(value) == "function" and made_by[value] ~= nil
end

-- What is over a limit is not sent at all; the answer is then not whole, whatever the script makes of the error.
local function write(text)
  text = text_argument(text, "write")
  local bytes = #text
  local pieces = (bytes + PIECE_BYTES - 1) // PIECE_BYTES
  if bytes > bytes_left then
    overflow = format("the body has more than the %d bytes that are allowed", bytes_max)
  elseif pieces > pieces_left then
    overflow = format("the body is written in more than %d pieces", PIECES_MAX)
  end
  if overflow then
    raise("write: " .. overflow)
  end
  bytes_left, pieces_left = bytes_left - bytes, pieces_left - pieces
  for at = 1, bytes, PIECE_BYTES do
    call("chunk", bytes <= PIECE_BYTES and text or sub(text, at, at + PIECE_BYTES - 1))
  end
end

-- Send the head, have all that the script did committed, then make the body. Headers as name, value, …
local function run(status, headers, answer)
  call("lift") -- near the limit `unpack` says that it has no stack
  call("begin", status, unpack(headers))
  call("limit")
  begun = true
  made_by[answer](write)
end

return {
  has_begun = function()
    return begun
  end,
  is_stream = is_stream,
  overflow = function()
    return overflow
  end,
  public = stream,
  run = run,
  start = start,
}
