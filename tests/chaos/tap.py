"""Results in the Test Anything Protocol."""


class Tap:
    """Counts what is said."""

    def __init__(self):
        self.failed = 0

    def ok(self, good, text):
        print(f"{'ok' if good else 'not ok'} - {text}", flush=True)
        self.failed += not good

    def note(self, text):
        for line in str(text).splitlines():
            print("# " + line, flush=True)
