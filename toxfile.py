"""A runner for tox by which environments of one `env_dir` share it: torch is installed once, not five times.

tox itself takes the folder of another environment for a stale one, and makes it anew. Environments that
share must ask for the same dependencies.
"""

from tox.plugin import impl
from tox.tox_env.api import ToxEnv
from tox.tox_env.python.virtual_env.runner import VirtualEnvRunner
from tox.tox_env.register import ToxEnvRegister


class SharedRunner(VirtualEnvRunner):
    """Takes over the environment that is there, whichever name it was made under."""

    @staticmethod
    def id() -> str:
        """Return the name that `runner =` in tox.ini takes."""
        return "shared"

    def _setup_env(self) -> None:
        me = {"name": self.conf.name, "type": type(self).__name__}
        with self.cache.compare(me, ToxEnv.__name__):
            pass  # only to leave our name there, as what tox compares with next
        super()._setup_env()


@impl
def tox_register_tox_env(register: ToxEnvRegister) -> None:
    """Offer the runner to tox."""
    register.add_run_env(SharedRunner)
