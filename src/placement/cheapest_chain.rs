use super::{cost::Cost, exchanges::Exchanges, intake::Intake};

/// The cheapest way for one unit from the node `from` to a node that lacks one, over brokers and the drain (the last node),
/// and of equally cheap ways the one with the fewest steps. Dijkstra's algorithm; `potentials` keep all costs from
/// becoming negative and are brought up to date.
pub(super) fn cheapest_chain(
    exchanges: &Exchanges,
    intake: &Intake<'_>,
    surplus: &[i64],
    potentials: &mut [Cost],
    from: usize,
) -> Option<Vec<usize>> {
    let drain = surplus.len() - 1;
    let step = |out: usize, into: usize| {
        if into == drain {
            intake.one_more(out)
        } else if out == drain {
            intake.one_less(into)
        } else {
            exchanges.best(out, into).map(|(price, _)| price.into())
        }
    };
    let mut reached: Vec<Option<((Cost, usize), usize)>> = vec![None; surplus.len()];
    let mut done = vec![false; surplus.len()];
    reached[from] = Some(((Cost::default(), 0), from));
    let next = |reached: &[Option<((Cost, usize), usize)>], done: &[bool]| {
        let open = (0..reached.len()).filter(|node| !done[*node]);
        open.filter_map(|node| reached[node].map(|(way, _)| (way, node))).min()
    };
    let (end, to) = loop {
        let ((cost, steps), node) = next(&reached, &done)?;
        done[node] = true;
        if surplus[node] < 0 {
            break (cost, node);
        }
        for other in (0..surplus.len()).filter(|other| *other != node) {
            if done[other] {
                continue;
            }
            if let Some(price) = step(node, other) {
                let reduced = price + potentials[node] - potentials[other];
                debug_assert!(
                    reduced >= Cost::default(),
                    "a negative way from {node} to {other}: {reduced:?}"
                );
                let way = (cost + reduced, steps + 1);
                if reached[other].is_none_or(|(known, _)| way < known) {
                    reached[other] = Some((way, node));
                }
            }
        }
    };
    for (node, potential) in potentials.iter_mut().enumerate() {
        let cost = reached[node].filter(|_| done[node]).map_or(end, |((cost, _), _)| cost);
        *potential = *potential + cost;
    }
    let mut chain = vec![to];
    let mut node = to;
    while node != from {
        (_, node) = reached[node]?;
        chain.push(node);
    }
    chain.reverse();
    Some(chain)
}
