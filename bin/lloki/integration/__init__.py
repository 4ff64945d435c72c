"""One latent space for all technologies: the paper's "LLOKI-CAE" (Eq. 6 to 9).

`subset`: slices and cells that are enough to train on; `pairs`: mutual nearest neighbours between
batches; `training_set`: what is trained on; `anchors`: cells that a model keeps of its slices;
`levelling`: linear maps of batches onto their partners; `cae`: the conditional autoencoder;
`training`: its losses (reconstruction Eq. 6, triplets Eq. 7, conservation Eq. 8, their sum Eq. 9);
`joined`: all slices in one object; `sketch`: a few cells for all.
"""
