"""What the benchmark derives from times: throughput, shares, frame rates, published figures."""

import json

import pytest
from bench_cases import PASS_S, WAN, by_hand

from streamtwin.bench.figures import document, rate_lines, time_lines
from streamtwin.core import catalog
from streamtwin.core.published import Setting, published, published_figures


def test_a_time_is_the_median_and_the_warm_up_is_no_part_of_it():
    lines = {(line.what, line.mode, line.count): line for line in time_lines(by_hand())}
    assert lines["pass", "eager", 1].median_s == pytest.approx(PASS_S["eager"])
    assert lines["encode", "", 1].median_s == pytest.approx(0.030)
    assert {line.times for line in lines.values()} == {5}
    assert len(lines) == 2 * 4 + 2


def test_throughput_counts_the_reference_s_arithmetic():
    """One row of the 1.3B model at 480x832 is 6.74 TFLOP (reference, 30 blocks of 224.7 GFLOP)."""
    lines = {(line.what, line.mode, line.count): line for line in time_lines(by_hand())}
    one, four = lines["pass", "eager", 1], lines["pass", "eager", 4]
    assert one.flops == pytest.approx(6.74e12, rel=1e-3)
    assert four.flops == 4 * one.flops
    assert one.flops_per_s == pytest.approx(one.flops / 0.020)
    assert one.share == pytest.approx(one.flops / 0.020 / 989e12)
    assert lines["decode", "", 1].flops > lines["encode", "", 1].flops > 1e12


def test_a_frame_rate_is_of_encoding_passing_and_decoding_in_turn():
    rates = {(line.mode, line.steps): line for line in rate_lines(by_hand())}
    assert rates["graph", 1].fps == pytest.approx(4 / (0.030 + 0.010 + 0.050))
    assert rates["eager", 3].fps == pytest.approx(4 / (0.030 + 0.060 + 0.050))
    assert [rates["eager", n].reference_fps for n in (1, 2, 3, 4)] == [20.47, 17.97, 15.68, 13.95]


def test_published_times_stand_beside_what_they_are_of():
    lines = {(line.what, line.mode, line.count): line for line in time_lines(by_hand())}
    assert lines["pass", "graph", 1].reference_s == 0.0576
    assert lines["pass", "graph", 2].reference_s is None
    assert lines["encode", "", 1].reference_s == 0.04998
    assert lines["decode", "", 1].reference_s == 0.08614


@pytest.mark.parametrize("gpu", [None, "h200-sxm"])
def test_other_cards_have_no_published_figure(gpu):
    bench = by_hand(gpu=gpu)
    assert {line.reference_s for line in time_lines(bench)} == {None}
    assert {line.reference_fps for line in rate_lines(bench)} == {None}


@pytest.mark.parametrize(
    ("setting", "found"),
    [
        (Setting("wan2.1-1.3b", "wan2.1", (512, 512), "h100-sxm"), 26.21),
        (Setting("wan2.1-14b", "wan2.1", (480, 832), "h100-sxm"), 12.68),
        (Setting("wan2.1-1.3b", "taehv", (480, 832), "h100-sxm"), None),
        (Setting("wan2.1-1.3b", "wan2.1", (832, 480), "h100-sxm"), None),
        (Setting("tiny", "wan2.1", (480, 832), "h100-sxm"), None),
    ],
)
def test_a_published_figure_wants_all_to_agree(setting, found):
    figure = published(setting, "fps", 1)
    assert (figure.value if figure else None) == found


def test_derived_figures_follow_from_what_they_are_derived_from():
    derived = [f for f in published_figures() if f.quantity == "pass_s"]
    assert len(derived) == 2
    for figure, (four, one) in zip(derived, ((10.86, 20.47), (12.43, 26.21)), strict=True):
        assert figure.value == pytest.approx((4 / four - 4 / one) / 3, abs=5e-5)


def test_published_figures_name_what_the_catalogue_knows():
    for figure in published_figures():
        assert figure.model in catalog.names("models")
        assert figure.vae in catalog.names("vaes")
        assert figure.gpu in catalog.names("gpus")
        assert figure.source


@pytest.mark.parametrize(
    ("device_name", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("NVIDIA H200", "h200-sxm"),
        ("NVIDIA A100-SXM4-80GB", "a100-sxm"),
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA T4", None),
    ],
)
def test_a_driver_s_name_leads_to_the_data_sheet(device_name, name):
    card = catalog.gpu_called(device_name)
    assert (card.name if card else None) == name


def test_the_document_is_json_and_keeps_every_raw_time():
    plain = json.loads(json.dumps(document([by_hand()]), allow_nan=False))
    (bench,) = plain["benches"]
    assert bench["machine"]["ceilings"][0]["flops_per_s"] == 989e12
    assert bench["environment"]["date"]
    assert len(bench["raw"]) == len(bench["times"]) == 10
    assert all(len(raw["times_s"]) == 6 for raw in bench["raw"])
    assert bench["request"]["resolution"] == list(WAN.resolution)
