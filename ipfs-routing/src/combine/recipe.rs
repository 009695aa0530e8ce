//! How a combined router is built from how its parts are.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use ipfs_traits::{Parts, Recipe, Result, Routing};

use super::{Combined, Turn};
use crate::Validators;

/// How to build a [`Combined`] as the routing of a node: see [`Combined::first`].
#[must_use = "nothing is built before the node is"]
pub struct CombinedRecipe {
    recipes: Vec<(Turn, Box<dyn Recipe<dyn Routing>>)>,
    rules: Validators,
    all: bool,
}

impl CombinedRecipe {
    pub(super) fn new(first: impl Recipe<dyn Routing>) -> Self {
        let (recipes, rules) = (Vec::new(), Validators::new());
        Self { recipes, rules, all: false }.and(Turn::Otherwise, first)
    }

    /// The next one, asked when the one before it has been asked for so long: see [`Turn::After`].
    pub fn after(self, time: Duration, next: impl Recipe<dyn Routing>) -> Self {
        self.and(Turn::After(time), next)
    }

    /// The next one, asked when all before it found nothing: see [`Turn::Otherwise`].
    pub fn otherwise(self, next: impl Recipe<dyn Routing>) -> Self {
        self.and(Turn::Otherwise, next)
    }

    /// Holds values against these rules.
    pub fn with_rules(self, rules: Validators) -> Self {
        Self { rules, ..self }
    }

    /// Whether providing and putting succeed only if all do that can.
    pub fn with_all(self, all: bool) -> Self {
        Self { all, ..self }
    }

    fn and(mut self, turn: Turn, next: impl Recipe<dyn Routing>) -> Self {
        self.recipes.push((turn, Box::new(next)));
        self
    }
}

#[async_trait]
impl Recipe<dyn Routing> for CombinedRecipe {
    async fn build(self: Box<Self>, parts: &Parts) -> Result<Arc<dyn Routing>> {
        let mut routers: Vec<(Turn, Arc<dyn Routing>)> = Vec::new();
        for (turn, recipe) in self.recipes {
            match recipe.build(parts).await {
                Ok(router) => routers.push((turn, router)),
                Err(error) => {
                    close(&routers).await;
                    return Err(error);
                }
            }
        }
        let combined = Combined::new(parts.runtime().clone(), routers);
        Ok(Arc::new(combined.with_rules(self.rules).with_all(self.all)))
    }
}

/// Of a build that fails nothing stays behind. The error that is told is the first one.
async fn close(built: &[(Turn, Arc<dyn Routing>)]) {
    for (_, router) in built {
        if let Err(error) = router.close().await {
            tracing::warn!(%error, "closing what was built of a combined router");
        }
    }
}

impl fmt::Debug for CombinedRecipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CombinedRecipe")?;
        f.debug_list().entries(self.recipes.iter().map(|(turn, _)| turn)).finish()
    }
}
