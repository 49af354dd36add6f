import time
def main(name):
    time.sleep(name['s'])
    return name['v']
