-- expect: 200 body="[1]"
return coroutine.wrap(function(request) coroutine.yield({ 1 }) end)
