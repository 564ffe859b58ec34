-- Watches web pages: asks for each every five minutes, and keeps since when it is up or down. picloud.toml says when.
--   picloud deploy watch
--   picloud env set watch PAGES='https://example.org/ https://example.net/'
-- curl http://127.0.0.1:8080/fn/watch
-- Who wants to know at once subscribes a script to the events: picloud event subscribe 'page.*' mailer

local function is_up(page)
  local done, response = pcall(http.get, page, { timeout_ms = 4000 })
  if not done then
    log.warn("no answer", { page = page, reason = response })
  end
  return done and response.status < 400
end

local function ask()
  local found = {}
  for page in (env.PAGES or ""):gmatch("%S+") do
    found[page] = is_up(page)
  end
  return found
end

-- All pages have been asked by now: what is written is held until the end, and waits for nobody.
local function note(page, up)
  local key = "page/" .. page
  local before = kv.get(key)
  if before and before.up == up then
    return
  end
  kv.set(key, { page = page, up = up, since = time.format(time.unix()) })
  if before then -- the first look at a page is no news
    events.publish(up and "page.up" or "page.down", { page = page, before = before.since }, { subject = page })
  end
end

local function state()
  local pages = json.array{}
  for page in (env.PAGES or ""):gmatch("%S+") do
    pages[#pages + 1] = kv.get("page/" .. page) or { page = page }
  end
  return { pages = pages }
end

return function(request)
  if request.trigger ~= "schedule" then
    return state() -- whoever looks makes nobody ask
  end
  for page, up in pairs(ask()) do
    note(page, up)
  end
end
