-- expect: bad-response
return { 1, nil, 3, [1000000] = 4 }
