"""Guides, which turn a PersRM into rewards while an engine decodes. There is one per way of reading a preference."""

from pad_langchain.persrm.guides.byte_level import ByteLevelGuide, fitting_guide
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.guides.self_guide import SelfGuide
from pad_langchain.persrm.guides.text import ModelGuide

__all__ = ["ByteLevelGuide", "HeadGuide", "ModelGuide", "SelfGuide", "fitting_guide"]
