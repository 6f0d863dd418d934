"""Figures: images in rows, bars with spread, the fate of pseudo-labels, accuracy under attack.

Every function returns a `matplotlib.figure.Figure` that belongs to nobody: no window, no global state, so it works in a
thread, a notebook or a server. `to_png` turns one into bytes. Colors are Okabe and Ito's, told apart by color-blind
readers, and every distinction made by color is also made by position or by a marker.
"""

from keras_aug_ssl.plots.charts import accuracy_bars as accuracy_bars
from keras_aug_ssl.plots.charts import accuracy_curves as accuracy_curves
from keras_aug_ssl.plots.charts import pseudo_label_curves as pseudo_label_curves
from keras_aug_ssl.plots.figures import BLUE as BLUE
from keras_aug_ssl.plots.figures import GREEN as GREEN
from keras_aug_ssl.plots.figures import GREY as GREY
from keras_aug_ssl.plots.figures import MARKERS as MARKERS
from keras_aug_ssl.plots.figures import ORANGE as ORANGE
from keras_aug_ssl.plots.figures import PURPLE as PURPLE
from keras_aug_ssl.plots.figures import SKY as SKY
from keras_aug_ssl.plots.figures import VERMILION as VERMILION
from keras_aug_ssl.plots.figures import to_png as to_png
from keras_aug_ssl.plots.grids import image_grid as image_grid
from keras_aug_ssl.plots.grids import pseudo_labels as pseudo_labels
from keras_aug_ssl.plots.grids import saliency as saliency
from keras_aug_ssl.plots.samples import Sample as Sample
from keras_aug_ssl.plots.samples import samples as samples
