-- Keeps count of the pushes to your GitHub repositories: each is counted once, however often GitHub delivers it.
-- picloud.toml says whose webhooks these are, so what comes here was signed, and is stored: it runs until it is done.
--   picloud secret set PUSHES_SECRET
--   picloud deploy pushes
-- In the repository: Settings → Webhooks → Add: your URL, content type application/json, the same secret.

local handlers = {}

function handlers.ping(ping)
  log.info("GitHub is there", { zen = ping.zen })
  return "pong"
end

function handlers.push(push)
  local name = push.repository.full_name
  local count = kv.incr("pushes/" .. name)
  log.info("push", { repository = name, ref = push.ref, commits = #push.commits, count = count })
  return { repository = name, pushes = count }
end

return function(request)
  local handle = handlers[request.headers["x-github-event"] or ""]
  return handle and handle(request:json())
end
