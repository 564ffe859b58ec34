-- expect: 200 body="1"
-- again: same
count = (count or 0) + 1
json.count = (json.count or 0) + 1
string.count = (string.count or 0) + 1
return tostring(math.max(count, json.count, string.count))
