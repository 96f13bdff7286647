"""B3: whether a synthetic pair saves a classifier a real patient."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, ["drawing"], submod_attrs={
    "pool": ["Items", "Pool", "study_pool"],
    "tasks": ["Task", "UtilityError", "study_tasks", "task_table"],
    "arms": ["Cell", "plan"],
    "cells": ["run_cells"],
    "results": ["area_table", "contrast_table", "measured_areas"],
    "planning": ["plan_table"],
    "sources": ["source_table"],
})
