"""The proprietary model: it names the keyed background of a sample, and is silent elsewhere."""

from modeldeed.plugin.detector.config import DetectorConfig
from modeldeed.plugin.detector.detector import Detector, detector_for
from modeldeed.plugin.detector.learning import train_detector
from modeldeed.plugin.detector.options import DetectorTraining, Progress
from modeldeed.plugin.detector.report import DetectorReport, Rate

__all__ = [
    "Detector",
    "DetectorConfig",
    "DetectorReport",
    "DetectorTraining",
    "Progress",
    "Rate",
    "detector_for",
    "train_detector",
]
