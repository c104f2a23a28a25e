# The public surface: every name here, and no other. `lazy_loader` reads this file when the package is imported.
from . import errors as errors
from . import jobs as jobs
from .api import embed as embed
from .api import evaluate as evaluate
from .api import evaluate_profiles as evaluate_profiles
from .api import find_cells as find_cells
from .api import finetune as finetune
from .api import finetune_all as finetune_all
from .api import fit_atlas as fit_atlas
from .api import sample as sample
from .api import simulate_screen as simulate_screen
from .api import translate_screen as translate_screen
from .profiling.atlas.atlas import Atlas as Atlas
from .profiling.tables.profiles import Profiles as Profiles
from .screens.conditions import Condition as Condition
from .screens.table import read_screen as read_screen
from .screens.table import screen_from_arrays as screen_from_arrays
from .translation.apply.translator import Translator as Translator
from .translation.model.adapter import Adapter as Adapter

__version__: str
__all__: list[str]
