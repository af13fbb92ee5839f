# SPDX-License-Identifier: Apache-2.0
# Sample pictures and the questions that go with them.

dist_images_DATA += share/images/questions.tsv share/images/red-ball.png share/images/shapes.png share/images/stop.png
