def handler(event, _context):
    return event["input"]
