"""A web worker that takes its time between its fork and its first look at signals."""

import time

from service.web.door import Door


class SlowBoot(Door):
    def init_process(self):
        time.sleep(1)  # a signal's handler runs meanwhile, the sleep goes on
        super().init_process()
