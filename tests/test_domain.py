"""The domain nests, is restored, and is copied with a model."""

import pickle
from copy import deepcopy

import pytest
import torch
from torch import nn

from aemim_mm import Domain, split_adapters, use_domain


@pytest.fixture
def net():
    return split_adapters(nn.Sequential(nn.LayerNorm(4), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))))


def domains(net):
    return [net[0].domain, net[1][0].domain]


def test_clean_is_the_default(net):
    assert domains(net) == [Domain.CLEAN, Domain.CLEAN]


def test_switches_all_split_layers_and_yields_the_model(net):
    with use_domain(net, Domain.ADV) as inside:
        assert inside is net
        assert domains(net) == [Domain.ADV, Domain.ADV]
    assert domains(net) == [Domain.CLEAN, Domain.CLEAN]


def test_nests(net):
    with use_domain(net, Domain.ADV):
        with use_domain(net[1], Domain.CLEAN):
            assert domains(net) == [Domain.ADV, Domain.CLEAN]
            with use_domain(net, Domain.ADV):
                assert domains(net) == [Domain.ADV, Domain.ADV]
            assert domains(net) == [Domain.ADV, Domain.CLEAN]
        assert domains(net) == [Domain.ADV, Domain.ADV]
    assert domains(net) == [Domain.CLEAN, Domain.CLEAN]


def test_restores_a_mixed_state_after_an_exception(net):
    net[1][0].domain = Domain.ADV
    with pytest.raises(KeyError), use_domain(net, Domain.CLEAN):
        assert domains(net) == [Domain.CLEAN, Domain.CLEAN]
        raise KeyError
    assert domains(net) == [Domain.CLEAN, Domain.ADV]


@pytest.mark.parametrize('wrong', ['adv', 1, None, True])
def test_wrong_domain_is_a_type_error_and_changes_nothing(net, wrong):
    with pytest.raises(TypeError, match='Domain.CLEAN or Domain.ADV'), use_domain(net, wrong):
        pass
    assert domains(net) == [Domain.CLEAN, Domain.CLEAN]


def test_a_model_without_split_layers_is_left_alone():
    stock = nn.Linear(2, 2)
    with use_domain(stock, Domain.ADV):
        assert not hasattr(stock, 'domain')


def test_a_copy_has_a_domain_of_its_own(net):
    copy = deepcopy(net)
    with use_domain(copy, Domain.ADV):
        assert domains(net) == [Domain.CLEAN, Domain.CLEAN]
    with use_domain(net, Domain.ADV):
        assert domains(copy) == [Domain.CLEAN, Domain.CLEAN]
        copies = deepcopy(net), pickle.loads(pickle.dumps(net))
    assert [domains(one) for one in copies] == [[Domain.CLEAN, Domain.CLEAN]] * 2


def test_the_domain_is_no_part_of_the_state(net):
    before = deepcopy(net.state_dict())
    with use_domain(net, Domain.ADV):
        inside = net.state_dict()
    assert inside.keys() == before.keys()
    assert all(torch.equal(inside[name], before[name]) for name in before)
