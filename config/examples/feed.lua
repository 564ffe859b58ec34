-- An RSS feed as JSON, for pages and programs that cannot read XML; asked for at most every ten minutes.
--   picloud env set feed FEED_URL=https://example.org/feed.xml
-- curl http://127.0.0.1:8080/fn/feed
local FRESH_S = 600
local ITEMS_MAX = 50

local ENTITIES = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function entity(name)
  local digits, base = name:match("^#(%d+)$"), 10
  if not digits then
    digits, base = name:match("^#[xX](%x+)$"), 16
  end
  local code = digits and tonumber(digits, base)
  return code and code <= 0x10FFFF and utf8.char(code) or ENTITIES[name] -- nil leaves it as it is
end

-- The text of an element: as it is in CDATA, else with its entities read, once.
local function text_of(xml, name)
  local inner = xml:match("<" .. name .. "[^>]*>(.-)</" .. name .. "%s*>")
  if not inner then
    return nil
  end
  local raw = inner:match("^%s*<!%[CDATA%[(.-)%]%]>%s*$")
  return raw or (inner:match("^%s*(.-)%s*$"):gsub("&(#?%w+);", entity))
end

local function read(xml)
  local channel = xml:match("<channel[^>]*>(.*)") or error{ status = 502, body = "what came is no RSS 2.0\n" }
  local items = json.array{}
  for item in channel:gmatch("<item[^>]*>(.-)</item%s*>") do
    if #items == ITEMS_MAX then
      break
    end
    items[#items + 1] = { title = text_of(item, "title"), link = text_of(item, "link"), date = text_of(item, "pubDate") }
  end
  return { title = text_of(channel, "title"), items = items }
end

-- A feed that cannot be had now is no reason to show none: the last one is kept for a day.
local function fetched()
  local done, response = pcall(http.get, env.FEED_URL, { timeout_ms = 4000, headers = { accept = "application/rss+xml" } })
  if done and response.status == 200 then
    return read(response.body)
  end
  log.warn("no feed", { reason = done and response.status or response })
end

return function()
  if not env.FEED_URL then
    error("the variable FEED_URL is not set: picloud env set feed FEED_URL=…")
  end
  local kept = kv.get("feed") -- asked for afresh when FRESH_S are over
  if kept and kept.url == env.FEED_URL and kept.at > time.unix() - FRESH_S then
    return kept.feed
  end
  local feed = fetched()
  if feed then
    kv.set("feed", { url = env.FEED_URL, at = time.unix(), feed = feed }, { ttl = 24 * 60 * 60 })
    return feed
  elseif kept and kept.url == env.FEED_URL then
    return { headers = { warning = '110 - "stale"' }, body = kept.feed }
  end
  error{ status = 502, body = "the feed cannot be had now\n" }
end
