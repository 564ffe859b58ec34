-- expect: bad-response detail~"a thread cannot be a response"
return coroutine.create(print)
