"""Eight threads that allocate, and give what they made to each other to free."""
import queue
import sys
import threading

THREADS = 8
scale = int(sys.argv[1])
pipes = [queue.Queue(maxsize=64) for _ in range(THREADS)]
sums = [0] * THREADS


def work(me):
    total = 0
    for i in range(400 * scale):
        pipes[(me + 1) % THREADS].put([bytes(i % 700), {"k": [me, i]}, str(i) * 3])
        got = pipes[me].get()
        total += len(got[0]) + got[1]["k"][1] + len(got[2])
    sums[me] = total


threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sums)
