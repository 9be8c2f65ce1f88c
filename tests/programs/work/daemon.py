"""A daemon: forks twice, closes everything, works on alone, writes one file at its end."""
import json
import os
import sys

path = os.path.abspath(sys.argv[1])
print("starting", flush=True)
if os.fork():
    os.wait()
    print("started", flush=True)
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.chdir("/")
null = os.open("/dev/null", os.O_RDWR)
for fd in range(3):
    os.dup2(null, fd)
os.closerange(3, 1024)
total = 0
for i in range(3000):
    total += len(json.dumps({"i": i, "list": list(range(i % 50))}))
with open(path + ".new", "w", encoding="utf-8") as out:
    out.write(f"total {total}\n")
os.rename(path + ".new", path)
