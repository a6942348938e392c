"""The networks of benches/models in plain PyTorch, as published."""

import math

import torch
import torch.nn.functional as F
from torch import nn


def embedding(t, dim):
    """Sinusoidal embedding of t [B], cosines first."""
    half = dim // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / half)
    angles = t.float()[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], 1)


def norm(channels, eps):
    return nn.GroupNorm(min(32, channels // 4), channels, eps=eps)


class TimeMlp(nn.Module):
    def __init__(self, dim, width):
        super().__init__()
        self.dim = dim
        self.linear_1, self.linear_2 = nn.Linear(dim, width), nn.Linear(width, width)

    def forward(self, t):
        h = embedding(t, self.dim).to(self.linear_1.weight.dtype)
        return self.linear_2(F.silu(self.linear_1(h)))


class Attention(nn.Module):
    """Queries of x [B, T, C], keys and values of y [B, S, D]."""

    def __init__(self, c, heads, bias, d=None):
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(c, c, bias=bias)
        self.k, self.v = (nn.Linear(d or c, c, bias=bias) for _ in range(2))
        self.out = nn.Linear(c, c)

    def forward(self, x, y=None):
        y = x if y is None else y
        parts = (p.unflatten(-1, (self.heads, -1)).transpose(1, 2)
                 for p in (self.q(x), self.k(y), self.v(y)))
        h = F.scaled_dot_product_attention(*parts)
        return self.out(h.transpose(1, 2).flatten(2))


class MapAttention(nn.Module):
    """Self-attention over pixels behind a group norm, with its residual."""

    def __init__(self, c, eps, scale):
        super().__init__()
        self.norm, self.attention, self.scale = norm(c, eps), Attention(c, 1, True), scale

    def forward(self, x):
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        h = self.attention(tokens).transpose(1, 2).unflatten(2, x.shape[2:])
        return (x + h) * self.scale


class ResBlock(nn.Module):
    def __init__(self, cin, cout, emb, eps, resize=None, scale=1.0):
        super().__init__()
        self.norm1, self.conv1 = norm(cin, eps), nn.Conv2d(cin, cout, 3, padding=1)
        self.time = nn.Linear(emb, cout)
        self.norm2, self.conv2 = norm(cout, eps), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout or resize else nn.Identity()
        self.resize, self.scale = resize, scale

    def resized(self, x):
        if self.resize == "halve":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2) if self.resize == "double" else x

    def forward(self, x, emb):
        h = self.conv1(self.resized(F.silu(self.norm1(x)))) + self.time(emb)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.skip(self.resized(x)) + h) * self.scale


class Upsample(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x):
        return self.conv(F.interpolate(x, scale_factor=2))


class Pad(nn.Module):
    """A row and a column below and to the right, as a stride of two without padding wants."""

    def forward(self, x):
        return F.pad(x, (0, 1, 0, 1))


class UNet(nn.Module):
    """Steps down, in the middle and up: each a list of layers, then whether its value is kept."""

    def __init__(self, cin, cout, base, last, eps):
        super().__init__()
        self.time = TimeMlp(base, 4 * base)
        self.conv_in = nn.Conv2d(cin, base, 3, padding=1)
        self.down, self.middle, self.up = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        self.norm_out, self.conv_out = norm(last, eps), nn.Conv2d(last, cout, 3, padding=1)

    def steps(self, layers, h, emb, text):
        for layer in layers:
            if isinstance(layer, ResBlock):
                h = layer(h, emb)
            elif isinstance(layer, Transformer):
                h = layer(h, text)
            else:
                h = layer(h)
        return h

    def forward(self, x, t, text=None):
        emb = F.silu(self.time(t))
        h = self.conv_in(x)
        skips = [h]
        for layers in self.down:
            h = self.steps(layers, h, emb, text)
            skips.append(h)
        h = self.steps(self.middle, h, emb, text)
        for layers in self.up:
            # What only resizes has no skip.
            if isinstance(layers[0], ResBlock) and layers[0].resize is None:
                h = torch.cat([h, skips.pop()], 1)
            h = self.steps(layers, h, emb, text)
        return self.conv_out(F.silu(self.norm_out(h)))


def ddpm(tiny):
    """Ho et al. 2020 on CIFAR-10, as diffusers has it."""
    base, eps = (16 if tiny else 128), 1e-6
    widths, emb = [base, 2 * base, 2 * base, 2 * base], 4 * base
    net = UNet(3, 3, base, base, eps)
    kept, c = [base], base
    for level, out in enumerate(widths):
        for _ in range(2):
            layers = [ResBlock(c, out, emb, eps)]
            layers += [MapAttention(out, eps, 1.0)] if level == 1 else []
            net.down.append(nn.ModuleList(layers))
            kept.append(c := out)
        if level < 3:
            net.down.append(nn.ModuleList([Pad(), nn.Conv2d(c, c, 3, stride=2)]))
            kept.append(c)
    net.middle.extend([ResBlock(c, c, emb, eps), MapAttention(c, eps, 1.0),
                       ResBlock(c, c, emb, eps)])
    for level, out in reversed(list(enumerate(widths))):
        for i in range(3):
            layers = [ResBlock(c + kept.pop(), out, emb, eps)]
            layers += [MapAttention(out, eps, 1.0)] if level == 1 else []
            layers += [Upsample(out)] if level and i == 2 else []
            net.up.append(nn.ModuleList(layers))
            c = out
    return net


def edm(tiny):
    """Karras et al. 2022, DDPM++ on CIFAR-10, without augmentation labels."""
    base, eps, scale = (16 if tiny else 128), 1e-6, math.sqrt(0.5)
    out, emb = 2 * base, 4 * base
    net = UNet(3, 3, base, out, eps)
    kept, c = [base], base

    def block(cin, resize=None, attends=False):
        block = [ResBlock(cin, out, emb, eps, resize, scale)]
        return nn.ModuleList(block + ([MapAttention(out, eps, scale)] if attends else []))

    for level in range(3):
        if level:
            net.down.append(block(c, "halve"))
            kept.append(out)
        for _ in range(4):
            net.down.append(block(c, attends=level == 1))
            kept.append(c := out)
    net.middle.extend([*block(c, attends=True), *block(c)])
    for level in reversed(range(3)):
        if level < 2:
            net.up.append(block(c, "double"))
        for i in range(5):
            net.up.append(block(c + kept.pop(), attends=level == 1 and i == 4))
    return net


class Transformer(nn.Module):
    def __init__(self, c, text, heads=8):
        super().__init__()
        self.norm, self.proj_in = nn.GroupNorm(min(32, c // 4), c, eps=1e-6), nn.Conv2d(c, c, 1)
        self.norms = nn.ModuleList(nn.LayerNorm(c) for _ in range(3))
        self.self_attention = Attention(c, heads, False)
        self.text_attention = Attention(c, heads, False, text)
        self.ff_in, self.ff_out = nn.Linear(c, 8 * c), nn.Linear(4 * c, c)
        self.proj_out = nn.Conv2d(c, c, 1)

    def forward(self, x, text):
        h = self.proj_in(self.norm(x)).flatten(2).transpose(1, 2)
        h = h + self.self_attention(self.norms[0](h))
        h = h + self.text_attention(self.norms[1](h), text)
        values, gates = self.ff_in(self.norms[2](h)).chunk(2, -1)
        h = h + self.ff_out(values * F.gelu(gates))
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[2:]))


def sd15(tiny):
    """Rombach et al. 2022, the UNet of Stable Diffusion 1.5."""
    base, text, eps = (32, 32, 1e-5) if tiny else (320, 768, 1e-5)
    widths, emb = [base, 2 * base, 4 * base, 4 * base], 4 * base
    net = UNet(4, 4, base, base, eps)
    kept, c = [base], base
    for level, out in enumerate(widths):
        for _ in range(2):
            layers = [ResBlock(c, out, emb, eps)] + ([Transformer(out, text)] if level < 3 else [])
            net.down.append(nn.ModuleList(layers))
            kept.append(c := out)
        if level < 3:
            net.down.append(nn.ModuleList([nn.Conv2d(c, c, 3, stride=2, padding=1)]))
            kept.append(c)
    net.middle.extend([ResBlock(c, c, emb, eps), Transformer(c, text), ResBlock(c, c, emb, eps)])
    for level, out in reversed(list(enumerate(widths))):
        for i in range(3):
            layers = [ResBlock(c + kept.pop(), out, emb, eps)]
            layers += [Transformer(out, text)] if level < 3 else []
            layers += [Upsample(out)] if level and i == 2 else []
            net.up.append(nn.ModuleList(layers))
            c = out
    return net


class DitBlock(nn.Module):
    def __init__(self, c, heads):
        super().__init__()
        self.attention = Attention(c, heads, True)
        self.ff_in, self.ff_out = nn.Linear(c, 4 * c), nn.Linear(4 * c, c)
        self.modulation = nn.Linear(c, 6 * c)

    def forward(self, x, row):
        s1, t1, g1, s2, t2, g2 = self.modulation(row)[:, None].chunk(6, -1)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + s1) + t1
        x = x + g1 * self.attention(h)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + s2) + t2
        return x + g2 * self.ff_out(F.gelu(self.ff_in(h), approximate="tanh"))


class Dit(nn.Module):
    """Peebles & Xie 2023, DiT-XL/2 at 32x32 latents."""

    def __init__(self, tiny):
        super().__init__()
        c, blocks, heads = (64, 2, 4) if tiny else (1152, 28, 16)
        self.time, self.classes = TimeMlp(256, c), nn.Embedding(1001, c)
        self.patches = nn.Conv2d(4, c, 2, stride=2)
        self.register_buffer("positions", torch.randn(1, 256, c))
        self.blocks = nn.ModuleList(DitBlock(c, heads) for _ in range(blocks))
        self.modulation, self.out = nn.Linear(c, 2 * c), nn.Linear(c, 32)

    def forward(self, x, t, label):
        row = F.silu(self.time(t) + self.classes(label))
        h = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            h = block(h, row)
        s, t = self.modulation(row)[:, None].chunk(2, -1)
        h = self.out(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + s) + t)
        return F.pixel_shuffle(h.transpose(1, 2).unflatten(2, (16, 16)), 2)


NETWORKS = {
    "ddpm-cifar10": (ddpm, (3, 32, 32)),
    "edm-cifar10": (edm, (3, 32, 32)),
    "dit-xl-2": (Dit, (4, 32, 32)),
    "sd15-unet": (sd15, (4, 64, 64)),
}
