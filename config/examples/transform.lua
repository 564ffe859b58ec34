-- A JSON transformer: takes a GitHub-like webhook, answers with what a chat service wants.
-- curl -d '{"repository":{"name":"picloud"},"commits":[{"message":"fix\nlong","author":{"name":"Ada"}}]}' \
--      http://127.0.0.1:8080/fn/transform
local function first_line(text)
  return text:match("^[^\r\n]*")
end

return function(request)
  if request.method ~= "POST" then
    error{ status = 405, headers = { allow = "POST" }, body = { problem = "send a webhook with POST" } }
  end
  local push = request:json()
  if type(push.commits) ~= "table" or type(push.repository) ~= "table" then
    error{ status = 422, body = { problem = "this is no push event: 'repository' and 'commits' are missing" } }
  end
  local lines = json.array{}
  for at, commit in ipairs(push.commits) do
    lines[at] = { author = commit.author.name, title = first_line(commit.message) }
  end
  log.info("push", { repository = push.repository.name, commits = #lines })
  return { text = #lines .. " new commits in " .. push.repository.name, attachments = lines }
end
