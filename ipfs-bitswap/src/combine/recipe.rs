//! How a combined exchange is built from how its parts are.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use ipfs_traits::{Exchange, Parts, Recipe, Result};

use super::Combined;

/// How to build a [`Combined`] as the exchange of a node: see [`Combined::first`].
#[must_use = "nothing is built before the node is"]
pub struct CombinedRecipe {
    tiers: Vec<(Box<dyn Recipe<dyn Exchange>>, Duration)>,
}

impl CombinedRecipe {
    pub(super) fn new(first: impl Recipe<dyn Exchange>) -> Self {
        Self { tiers: vec![(Box::new(first), Duration::ZERO)] }
    }

    /// The next one: it is asked for what the one before it has been asked for this long, and for
    /// what all before it failed to give. After no time at all both are asked at once.
    pub fn after(mut self, time: Duration, next: impl Recipe<dyn Exchange>) -> Self {
        if let Some((_, patience)) = self.tiers.last_mut() {
            *patience = time;
        }
        self.tiers.push((Box::new(next), Duration::ZERO));
        self
    }
}

#[async_trait]
impl Recipe<dyn Exchange> for CombinedRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Exchange>> {
        let mut tiers: Vec<(Arc<dyn Exchange>, Duration)> = Vec::new();
        for (recipe, patience) in self.tiers {
            match recipe.build(parts).await {
                Ok(exchange) => tiers.push((exchange, patience)),
                Err(error) => {
                    close(&tiers).await;
                    return Err(error);
                }
            }
        }
        Ok(Arc::new(Combined::tiered(parts.runtime().clone(), tiers)))
    }
}

/// Of a build that fails nothing stays behind. The error that is told is the first one.
async fn close(built: &[(Arc<dyn Exchange>, Duration)]) {
    for (exchange, _) in built {
        if let Err(error) = exchange.close().await {
            tracing::warn!(%error, "closing what was built of a combined exchange");
        }
    }
}

impl fmt::Debug for CombinedRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = self.tiers.iter().map(|(_, patience)| patience);
        f.write_str("CombinedRecipe")?;
        f.debug_list().entries(times).finish()
    }
}
