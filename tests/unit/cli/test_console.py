from engineworks.cli.console import nodes


def test_nodes_names_the_shortest_two_and_counts_the_others() -> None:
    assert nodes(["conv1", "relu"]) == "conv1, relu"
    assert (
        nodes(["w_DequantizeLinear", "conv1", "conv1_output_0_QuantizeLinear", "relu"])
        == "conv1, relu and 2 more"
    )
